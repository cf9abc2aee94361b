//! Any bytes as the value of a key in Redis. A value is a record if and only if its checksum and its tags are right.
//! An encoded record is read unchanged, and a changed one is refused.
#![no_main]

// The codec is private. It names the types below by these paths.
use bytes::{Bytes, BytesMut};
use hyper_session::{
    id, store,
    store::{ReadOutcome, Tag, Tags, Version, redis::RedisError},
};
use libfuzzer_sys::fuzz_target;

// rustfmt would look for its unit tests beside this file.
#[rustfmt::skip]
#[path = "../../src/store/redis/record.rs"]
mod record;

/// The bytes of the checksum.
const CHECKSUM: std::ops::Range<usize> = 4..8;

/// The bytes of the time in a tag block, which the checksum excludes.
const INDEXED_UNTIL: std::ops::Range<usize> = 18..26;

// Input: a byte for the tags, two for the place of a change, one for the change, then data. The whole
// input is also a value, as it is and with its checksum repaired.
fuzz_target!(|input: &[u8]| {
    let key = id::SessionId::from_bytes([7; 16]).store_key();
    check_value(&key, input);
    if let Some(parts) = Parts::of(input) {
        let mut value = input.to_vec();
        value[CHECKSUM].copy_from_slice(&parts.checksum(&key).to_be_bytes());
        check_value(&key, &value);
    }

    let [tag_count, at, at_high, change, data @ ..] = input else {
        return;
    };
    let tags = tags(*tag_count % 65, data);
    let version = Version::new(u64::from(*change) + 1).expect("not zero");
    let mut encoded = BytesMut::new();
    record::encode(&key, version, (&tags, 17), data, &mut encoded);
    assert_eq!(encoded.len(), record::encoded_len(&tags, data));
    check(&key, encoded.clone().freeze(), |read| match read {
        Ok(ReadOutcome::Found(found)) => {
            assert_eq!((&*found.data, found.version), (data, version));
            assert_eq!(found.tags, tags);
        }
        other => panic!("{other:?}"),
    });
    let stored = record::decode_tags(&encoded.clone().freeze()).expect("tags");
    assert_eq!(
        (&stored.tags, stored.version),
        (&tags, version.get().to_be_bytes())
    );
    assert_eq!(stored.indexed_until, if tags.is_empty() { 0 } else { 17 });

    let other = id::SessionId::from_bytes([8; 16]).store_key();
    check(&other, encoded.clone().freeze(), |read| {
        assert!(read.is_err())
    });
    let at = usize::from(u16::from_le_bytes([*at, *at_high])) % encoded.len();
    encoded[at] ^= (*change).max(1);
    let may_open = !tags.is_empty() && INDEXED_UNTIL.contains(&at);
    check(&key, encoded.freeze(), |read| {
        assert_eq!(read.is_ok(), may_open)
    });
});

/// The parts of a value, by the table of the format and without the codec.
struct Parts<'v> {
    checksum: u32,
    version: u64,
    tags: &'v [u8],
    data: &'v [u8],
}

impl<'v> Parts<'v> {
    /// Returns `None` if the value does not have the form of a record.
    fn of(value: &'v [u8]) -> Option<Self> {
        let rest = value.strip_prefix(b"hs2R")?;
        let (head, rest) = rest.split_at_checked(14)?;
        let block = usize::from(u16::from_be_bytes([head[12], head[13]]));
        let (block, data) = rest.split_at_checked(block)?;
        let tags = match block.len() {
            0 => block,
            _ => block.get(8..)?,
        };
        Some(Self {
            checksum: u32::from_be_bytes(head[..4].try_into().expect("four bytes")),
            version: u64::from_be_bytes(head[4..12].try_into().expect("eight bytes")),
            tags,
            data,
        })
    }

    fn checksum(&self, key: &id::StoreKey) -> u32 {
        let mut bytes = [key.as_bytes(), &self.version.to_be_bytes()[..]].concat();
        if !self.tags.is_empty() {
            bytes.extend_from_slice(&(self.tags.len() as u64).to_be_bytes());
            bytes.extend_from_slice(self.tags);
        }
        bytes.extend_from_slice(self.data);
        crc32fast::hash(&bytes)
    }
}

/// Checks the outcome of any value.
fn check_value(key: &id::StoreKey, value: &[u8]) {
    let bytes = Bytes::copy_from_slice(value);
    let read = record::decode(key, &bytes);
    let stored = record::decode_tags(&bytes);
    let parts = Parts::of(value);
    let tags = parts.as_ref().and_then(|parts| {
        let bytes = Bytes::copy_from_slice(parts.tags);
        Tags::from_bytes(bytes)
    });
    assert_eq!(stored.is_ok(), tags.is_some());
    let is_record = |parts: &Parts<'_>| {
        tags.is_some() && parts.version != 0 && parts.checksum == parts.checksum(key)
    };
    match (read, parts.filter(is_record)) {
        (Ok(ReadOutcome::Found(found)), Some(parts)) => {
            assert_eq!(found.data, parts.data);
            assert_eq!(found.version.get(), parts.version);
            assert_eq!(Some(found.tags), tags);
        }
        (Ok(ReadOutcome::Gone), None) => assert_eq!(value, b"hs2T"),
        (Err(_), None) => assert_ne!(value, b"hs2T"),
        (read, parts) => panic!("{read:?}, is a record: {}", parts.is_some()),
    }
}

fn check(key: &id::StoreKey, value: Bytes, rule: impl FnOnce(Result<ReadOutcome, RedisError>)) {
    rule(record::decode(key, &value));
    let _ = record::decode_tags(&value);
}

/// Returns `count` tags, whose names depend on the data.
fn tags(count: u8, data: &[u8]) -> Tags {
    let mut tags = Tags::new();
    for number in 0..count {
        let len = data
            .get(usize::from(number))
            .map_or(3, |byte| usize::from(*byte));
        let tag = Tag::new(format!("{number}{}", "x".repeat(len.min(250)))).expect("short");
        tags.insert(&tag).expect("at most 64");
    }
    tags
}
