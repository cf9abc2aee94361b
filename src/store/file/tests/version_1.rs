//! Logs of format version 1, which an opening converts.

use std::{collections::BTreeMap, io::ErrorKind, time::Duration};

use super::{
    super::{
        FileError, FileStore, FindingKind, OnDamage,
        disk::Disk,
        format::{file_names, frame::HEADER_LEN, segment_head::LogFormat},
        log::engine::{EntryState, FileEngine},
        recover,
    },
    disk::{Crash, Fault, SimDisk},
    state::KeyState,
    workload,
};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    seal::{KeyRing, SealKey},
    store::{Expected, Tag, Tags, WriteRequest},
};

const SALT: u32 = 0x1234_5678;
const HEAD_LEN: usize = 32;
const END: u64 = 9_000_000;
const TAG: &str = "tag-1";

const WRITE: u8 = 1;
const TOUCH: u8 = 2;
const DESTROY: u8 = 3;
const TAGS: u8 = 4;
const OPEN: u8 = 5;
const COMPACTED: u8 = 6;
const SEGMENT_END: u8 = 7;
const CLOSED: u8 = 8;
const VOID: u8 = 9;

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

/// A segment of format version 1.
struct OldSegment {
    id: u32,
    bytes: Vec<u8>,
}

impl OldSegment {
    fn new(id: u32) -> Self {
        let mut bytes = b"hs-log\r\n".to_vec();
        for field in [1, id, SALT, 0, 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Self { id, bytes }
    }

    /// Appends a frame. Everything before it is durable.
    fn frame(mut self, kind: u8, flags: u8, number: u64, key: StoreKey, payload: &[u8]) -> Self {
        let expires = if matches!(kind, WRITE..=DESTROY) {
            END
        } else {
            u64::MAX
        };
        let mut header = vec![kind, flags, 0, 0];
        header.extend((payload.len() as u32).to_le_bytes());
        header.extend(crc32fast::hash(payload).to_le_bytes());
        header.extend((self.bytes.len() as u32).to_le_bytes());
        header.extend(number.to_le_bytes());
        header.extend(expires.to_le_bytes());
        header.extend(key.as_bytes());
        let mut crc = crc32fast::Hasher::new_with_initial(SALT);
        crc.update(&header);
        self.bytes.extend(crc.finalize().to_le_bytes());
        self.bytes.extend(header);
        self.bytes.extend(payload);
        self
    }

    /// Appends a frame that concerns no key.
    fn mark(self, kind: u8, number: u64) -> Self {
        self.frame(kind, 0, number, StoreKey::from_bytes([0; 32]), &[])
    }

    /// Writes a session without tags.
    fn write(self, number: u8, version: u64) -> Self {
        self.frame(WRITE, 1, version, key(number), &[version as u8; 100])
    }

    /// Writes a session that keeps its tags.
    fn write_tagged(self, number: u8, version: u64) -> Self {
        self.frame(WRITE, 0, version, key(number), &[version as u8; 100])
    }

    fn tags(self, number: u8, tags: &[&str]) -> Self {
        let mut payload = Vec::new();
        for tag in tags {
            payload.extend((tag.len() as u16).to_le_bytes());
            payload.extend(tag.as_bytes());
        }
        self.frame(TAGS, 0, 0, key(number), &payload)
    }

    fn destroy(self, number: u8, version: u64) -> Self {
        self.frame(DESTROY, 0, version, key(number), &[])
    }

    fn end(self) -> Self {
        self.mark(SEGMENT_END, 0)
    }
}

/// Returns a log with every kind of frame.
fn segments() -> Vec<OldSegment> {
    vec![
        OldSegment::new(3)
            .mark(OPEN, 10)
            // A compaction has copied the record of session 2 behind its tags.
            .tags(2, &[TAG])
            .write(1, 11)
            .write(3, 12)
            .tags(3, &[TAG, "tag-2"])
            .end(),
        OldSegment::new(4)
            .mark(COMPACTED, 2)
            .write_tagged(2, 13)
            .write_tagged(3, 14)
            .tags(1, &[TAG])
            .tags(1, &[])
            .write(4, 15)
            .tags(4, &[TAG])
            .destroy(4, 16)
            .end(),
        OldSegment::new(5)
            .mark(VOID, 0)
            .frame(TOUCH, 0, 11, key(1), &[])
            .write(5, 17)
            .tags(5, &[TAG])
            // This write begins a new session under the key, without tags.
            .write(5, 18)
            .tags(6, &[TAG])
            .mark(CLOSED, 0),
        OldSegment::new(6),
    ]
}

fn disk_of(segments: &[OldSegment], fault: Option<(usize, Fault)>) -> SimDisk {
    let disk = SimDisk::with_fault(None);
    for segment in segments {
        let file = disk.create(&file_names::segment(segment.id)).unwrap();
        file.write_at(&segment.bytes, 0).unwrap();
    }
    disk.crash(Crash::Process, fault)
}

fn states(engine: &FileEngine, clock: &Clock) -> BTreeMap<u8, KeyState> {
    (1..=7)
        .map(|number| (number, KeyState::observe(engine, &key(number), clock.now())))
        .collect()
}

/// Returns the states of the sessions in [`segments`].
fn expected() -> BTreeMap<u8, KeyState> {
    let tags = |names: &[&str]| {
        let mut tags = Tags::new();
        for name in names {
            tags.insert(&Tag::new(*name).unwrap()).unwrap();
        }
        tags
    };
    let record = |version: u64, names: &[&str]| KeyState {
        record: Some(((version as u8, 100), tags(names), Some(version))),
        expires: Timestamp::from_millis(END),
    };
    let mut states: BTreeMap<u8, KeyState> = (1..=7)
        .map(|number| (number, KeyState::default()))
        .collect();
    states.insert(1, record(11, &[]));
    states.insert(2, record(13, &[TAG]));
    states.insert(3, record(14, &[TAG, "tag-2"]));
    states.insert(5, record(18, &[]));
    states.get_mut(&4).unwrap().expires = Timestamp::from_millis(END);
    states
}

/// Checks that the store opens with all sessions, and that all segments have the current format.
fn check_converted(disk: &SimDisk, clock: &Clock) {
    for opening in ["first", "second"] {
        let engine = workload::open(disk, clock).expect("the store opens");
        assert_eq!(states(&engine, clock), expected(), "{opening} opening");
        let oldest = engine.log.oldest_segment().unwrap();
        assert_eq!(oldest.format, LogFormat::V2);
        let stats = engine.stats();
        assert_eq!(stats.disk_bytes, disk.used());
        assert_eq!(stats.live_bytes, engine.index.live_bytes());
        assert_eq!(stats.tagged, 2);
        let request = WriteRequest::new(&key(9), "", Duration::from_secs(1), Expected::Any);
        assert!(engine.write(&request).is_ok());
        assert!(engine.index.get(&key(9)).unwrap().version > 18);
    }
}

#[test]
fn every_session_and_its_tags_are_converted() {
    let (disk, clock) = (disk_of(&segments(), None), workload::clock());
    check_converted(&disk, &clock);
    let stats = workload::open(&disk, &clock).unwrap().stats();
    assert_eq!((stats.damaged, stats.torn_bytes, stats.dropped), (0, 0, 0));
}

#[test]
fn a_conversion_interrupted_at_any_operation_loses_nothing() {
    let (disk, clock) = (disk_of(&segments(), None), workload::clock());
    drop(workload::open(&disk, &clock).unwrap());
    let operations = disk.operations();
    assert!(operations > 20, "{operations} operations");
    for at in 0..operations {
        let disk = disk_of(&segments(), Some((at, Fault::PowerOff)));
        drop(workload::open(&disk, &clock));
        check_converted(&disk.crash(Crash::Process, None), &clock);
        for choice in 0..8 {
            let power = Crash::Power(at as u64 * 64 + choice);
            check_converted(&disk.crash(power, None), &clock);
            // A second crash interrupts the opening that continues the conversion.
            let second = Some((choice as usize * 3, Fault::PowerOff));
            let disk = disk.crash(power, second);
            drop(workload::open(&disk, &clock));
            check_converted(&disk.crash(power, None), &clock);
        }
    }
}

#[test]
fn a_disk_that_fails_or_is_full_at_any_operation_loses_nothing() {
    let clock = workload::clock();
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for at in 0..80 {
            let disk = disk_of(&segments(), Some((at, Fault::Once(kind))));
            drop(workload::open(&disk, &clock));
            check_converted(&disk.crash(Crash::Process, None), &clock);
        }
    }
    for bytes in (0..2000).step_by(50) {
        let disk = disk_of(&segments(), None);
        disk.limit_growth(bytes);
        let opened = workload::open(&disk, &clock);
        assert!(opened.is_ok() || bytes < 1500, "{bytes} bytes");
        check_converted(&disk.crash(Crash::Process, None), &clock);
    }
}

#[test]
fn an_append_that_a_crash_interrupted_is_cut_off() {
    for torn in [&[7_u8; 50][..], &[0; 300], &[7; 2]] {
        let mut segments = segments();
        segments[3].bytes.extend(torn);
        check_converted(&disk_of(&segments, None), &workload::clock());
        let empty = segments.pop().unwrap();
        segments[2].bytes.extend(torn);
        check_converted(&disk_of(&segments, None), &workload::clock());
        // A crash interrupted the creation of the next segment.
        let disk = disk_of(&segments, None);
        let file = disk.create(&file_names::segment(empty.id)).unwrap();
        file.write_at(&empty.bytes[..20], 0).unwrap();
        check_converted(&disk, &workload::clock());
    }
}

#[test]
fn a_compacted_segment_that_could_not_be_deleted_is_not_damage() {
    // Without space for the compacted frame, version 1 truncated the segment.
    let mut segments = segments();
    let mut empty = OldSegment::new(2);
    empty.bytes.clear();
    segments.insert(0, empty);
    check_converted(&disk_of(&segments, None), &workload::clock());
    let mut whole = segments;
    whole[0] = OldSegment::new(2)
        .write(1, 8)
        .tags(1, &[TAG])
        .write(7, 9)
        .destroy(7, 10)
        .end();
    let disk = disk_of(&whole, None);
    let engine = workload::open(&disk, &workload::clock()).unwrap();
    assert_eq!(states(&engine, &workload::clock())[&1], expected()[&1]);
}

/// Checks that the default refuses the disk, changes nothing, and that the other reactions serve no
/// session with an older state. Returns the number of sessions that `drop_uncertain` keeps.
fn check_refused(segments: &[OldSegment], what: &str) -> usize {
    let clock = workload::clock();
    let disk = disk_of(segments, None);
    let refused = workload::open(&disk, &clock).err();
    assert!(matches!(refused, Some(FileError::Damaged { .. })), "{what}");
    for segment in segments {
        let name = file_names::segment(segment.id);
        disk.tamper(&name, |bytes| assert_eq!(*bytes, segment.bytes, "{what}"));
    }
    let engine = workload::open_damaged(&disk, &clock, OnDamage::DropUncertain);
    let kept = states(&engine.unwrap(), &clock);
    let again = workload::open(&disk, &clock).expect("the damage was handled");
    assert_eq!(states(&again, &clock), kept, "{what}");
    let expected = expected();
    let kept = kept.iter().filter(|(number, state)| {
        let is_kept = state.record.is_some();
        assert!(!is_kept || expected[number] == **state, "{what}: {state:?}");
        is_kept
    });
    kept.count()
}

#[test]
fn after_a_flipped_bit_no_session_has_an_older_state() {
    let (clock, whole) = (workload::clock(), segments());
    let mut refused = 0;
    for (index, segment) in whole.iter().enumerate().take(3) {
        for at in HEAD_LEN..segment.bytes.len() {
            let mut damaged = segments();
            damaged[index].bytes[at] ^= 1 << (at % 8);
            let what = format!("segment {}, offset {at}", segment.id);
            match workload::open(&disk_of(&damaged, None), &clock) {
                // Only the last frame, which shows that the store was closed, may be damaged.
                Ok(engine) => assert_eq!(states(&engine, &clock), expected(), "{what}"),
                Err(_) => {
                    check_refused(&damaged, &what);
                    refused += 1;
                }
            }
        }
    }
    let frames: usize = whole
        .iter()
        .map(|segment| segment.bytes.len() - HEAD_LEN)
        .sum();
    assert_eq!(refused, frames - HEADER_LEN);
}

#[test]
fn a_session_whose_tags_are_older_than_the_damage_is_dropped() {
    // The damaged frame may have set tags of session 1.
    let log = |write: fn(OldSegment) -> OldSegment| {
        let mut segment = OldSegment::new(1)
            .mark(OPEN, 10)
            .write(1, 11)
            .tags(1, &[TAG]);
        let at = segment.bytes.len();
        segment = write(segment.tags(1, &["tag-2"]));
        segment.bytes[at + HEADER_LEN - 1] ^= 1;
        disk_of(&[segment.mark(CLOSED, 0)], None)
    };
    let clock = workload::clock();
    let open = |disk| workload::open_damaged(&disk, &clock, OnDamage::DropUncertain).unwrap();
    let kept = |engine: FileEngine| states(&engine, &clock)[&1].record.is_some();
    assert!(!kept(open(log(|segment| segment.write_tagged(1, 12)))));
    assert!(kept(open(log(|segment| segment
        .write_tagged(1, 12)
        .tags(1, &[TAG])))));
    assert!(kept(open(log(|segment| segment.write(1, 12)))));
}

#[test]
fn missing_and_unreadable_segments_are_refused() {
    for index in 0..3 {
        let mut missing = segments();
        missing.remove(index);
        check_refused(&missing, "a missing segment");
        let mut unreadable = segments();
        unreadable[index].bytes[13] ^= 1;
        check_refused(&unreadable, "a damaged head");
    }
}

/// Encodes the head of a hint file of format version 1.
fn hint(segment: &OldSegment) -> Vec<u8> {
    let mut bytes = b"hs-hint\n".to_vec();
    for field in [1, segment.id, SALT, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend((segment.bytes.len() as u64).to_le_bytes());
    bytes.extend(crc32fast::hash(&[]).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

#[test]
fn a_hint_shows_that_the_end_of_a_segment_is_lost() {
    let clock = workload::clock();
    for index in 0..3 {
        let mut segments = segments();
        let hint = hint(&segments[index]);
        let name = file_names::hint(segments[index].id);
        let open = |segments: &[OldSegment]| {
            let disk = disk_of(segments, None);
            let file = disk.create(&name).unwrap();
            file.write_at(&hint, 0).unwrap();
            let opened = workload::open(&disk, &clock);
            assert!(opened.is_err() || disk.file_id(&name).unwrap().is_none());
            opened
        };
        assert_eq!(states(&open(&segments).unwrap(), &clock), expected());
        // The last frame is lost as a whole.
        let len = segments[index].bytes.len() - HEADER_LEN;
        segments[index].bytes.truncate(len);
        let Some(FileError::Damaged { finding }) = open(&segments).err() else {
            panic!("the lost end of segment {} is noticed", segments[index].id);
        };
        assert_eq!(finding.kind, FindingKind::LostEnd, "{finding}");
    }
}

#[test]
fn a_segment_of_version_1_in_a_log_of_version_2_is_refused() {
    let (disk, clock) = (disk_of(&segments(), None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    engine.log.roll(&mut engine.log.lock()).unwrap();
    let active = engine.log.lock().active().id;
    for id in [active - 1, active, active + 1] {
        let disk = disk.crash(Crash::Process, None);
        let name = file_names::segment(id);
        let _ = disk.remove(&name);
        let old = OldSegment::new(id).write(1, 99).mark(CLOSED, 0);
        disk.create(&name).unwrap().write_at(&old.bytes, 0).unwrap();
        let refused = workload::open(&disk, &clock).err();
        assert!(
            matches!(refused, Some(FileError::Damaged { .. })),
            "segment {id}"
        );
    }
}

#[test]
fn an_encrypted_record_that_no_key_opens_is_kept_without_its_tags() {
    let segment = OldSegment::new(1)
        .frame(WRITE, 2, 11, key(1), b"no sealed text")
        .tags(1, &[TAG])
        .mark(CLOSED, 0);
    let clock = workload::clock();
    let keys = KeyRing::new(SealKey::from_text("a long and random secret, number one").unwrap());
    let builder = FileStore::builder("simulated").clock(clock.clone());
    let options = builder.encrypt_with(&keys).options;
    let disk = disk_of(&[segment], None);
    let engine = recover::open::open(Box::new(disk), options).unwrap();
    let EntryState::Live(entry) = engine.entry_state(&key(1), clock.now()) else {
        panic!("the record is kept");
    };
    let read = engine.fetch(&key(1), entry, true).err();
    assert!(read.is_some_and(|error| error.is_unreadable()));
    assert_eq!(engine.tagged(&Tag::new(TAG).unwrap()).unwrap().0, []);
    assert_eq!(engine.stats().tagged, 0);
}
