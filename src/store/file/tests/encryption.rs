use super::{
    super::{
        FileError, FileStore,
        encryption::RecordCipher,
        format::{
            file_names,
            frame::{FrameHeader, FrameKind},
            payload,
            segment_head::SALT_OFFSET,
        },
        log::{
            engine::{EntryState, FileEngine},
            read::FetchOutcome,
        },
        recover,
    },
    chain::{LIFE, key, write},
    disk::SimDisk,
    workload,
};
use crate::{
    id::StoreKey,
    seal::{KeyRing, SealKey},
    store::{Tag, Tags},
};

fn ring(text: &str) -> KeyRing {
    KeyRing::new(SealKey::from_text(text).unwrap())
}

#[test]
fn an_encrypted_record_opens_under_its_own_key_and_unchanged_only() {
    let cipher = RecordCipher::new(&ring("a secret of thirty-two characters or more"));
    let [own, other] = [1, 2].map(|byte| StoreKey::from_bytes([byte; StoreKey::LEN]));
    let text = cipher.seal(&own, b"{}").unwrap();
    assert_eq!(cipher.open(&own, &text).unwrap(), "{}");
    assert!(
        cipher.open(&other, &text).is_err(),
        "moved to another session"
    );
    for at in 0..text.len() {
        let mut changed = text.to_vec();
        changed[at] ^= 1;
        assert!(cipher.open(&own, &changed).is_err(), "byte {at}");
    }
    let foreign = RecordCipher::new(&ring("another secret of thirty-two characters"));
    let forged = foreign.seal(&own, b"{}").unwrap();
    assert!(
        cipher.open(&own, &forged).is_err(),
        "sealed with another key"
    );
}

/// Appends an unencrypted record with correct checksums to the log, which takes no key.
fn append_unencrypted(disk: &SimDisk, key: StoreKey, tag: &Tag, data: &[u8]) {
    let mut tags = Tags::new();
    tags.insert(tag).unwrap();
    let payload = payload::encode(&tags, data);
    let expires = workload::clock().now().saturating_add(LIFE);
    let header = FrameHeader {
        tagged: true,
        ..FrameHeader::new(FrameKind::Write, key, 1 << 40, expires).with_payload(&payload)
    };
    disk.tamper(&file_names::segment(1), |bytes| {
        let salt = *bytes[SALT_OFFSET..].first_chunk().unwrap();
        bytes.extend(header.encode(u32::from_le_bytes(salt)));
        bytes.extend(&payload);
    });
}

#[test]
fn an_unencrypted_record_is_read_unless_such_records_are_refused() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let open = |refuse| {
        let builder = FileStore::builder("simulated").clock(clock.clone());
        let builder = builder.encrypt_with(&ring("a secret of thirty-two characters or more"));
        let options = builder.refuse_unencrypted(refuse).options;
        recover::open::open(Box::new(disk.clone()), options).unwrap()
    };
    let read = |engine: &FileEngine, number| {
        let EntryState::Live(entry) = engine.entry_state(&key(number), clock.now()) else {
            panic!("record {number} is live");
        };
        match engine.fetch(&key(number), entry, true)? {
            FetchOutcome::Record(record) => Ok(record.data),
            _ => panic!("record {number} is intact"),
        }
    };
    let engine = open(true);
    write(&engine, 1);
    write(&engine, 2);
    engine.log.finish().unwrap();
    drop(engine);
    let tag = Tag::new("admin").unwrap();
    for number in [2, 3] {
        append_unencrypted(&disk, key(number), &tag, b"forged");
    }
    for refuse in [false, true] {
        let engine = open(refuse);
        assert_eq!(read(&engine, 1).unwrap(), vec![1; 100]);
        let listed = engine.tagged(&tag).unwrap().0.len();
        assert_eq!(listed, if refuse { 0 } else { 2 });
        for number in [2, 3] {
            match read(&engine, number) {
                Ok(data) => assert!(!refuse && data == "forged"),
                Err(error) => assert!(refuse && matches!(error, FileError::Unencrypted)),
            }
        }
        engine.log.finish().unwrap();
    }
}
