//! Damaged and unusual files.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        FileError,
        format::{
            file_names,
            frame::HEADER_LEN,
            frames::{Frames, SegmentItem},
            segment_head::SEGMENT_HEAD_LEN,
        },
        log::{
            engine::{EntryState, FileEngine},
            read::FetchOutcome,
        },
    },
    disk::{Crash, SimDisk},
    workload,
};
use crate::{
    clock::Clock,
    id::StoreKey,
    store::{Expected, Tag},
};

const LIFE: Duration = Duration::from_secs(60);

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

/// Returns a closed store with records of 100 bytes under the keys 1 to 5.
fn five_records() -> (SimDisk, Clock) {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=5 {
        let data = Bytes::from(vec![number; 100]);
        engine
            .write(&key(number), &data, LIFE, Expected::Any)
            .unwrap();
    }
    engine.log.finish().unwrap();
    (disk, clock)
}

fn live(engine: &FileEngine, clock: &Clock) -> Vec<u8> {
    let live = |number: &u8| {
        let key = key(*number);
        let EntryState::Live(entry) = engine.entry_state(&key, clock.now()) else {
            return false;
        };
        match engine.fetch(&key, entry, true).unwrap() {
            FetchOutcome::Record(record) => {
                assert_eq!(record.data, vec![*number; 100], "data is read as written");
                true
            }
            _ => false,
        }
    };
    (1..=5).filter(live).collect()
}

#[test]
fn a_flipped_bit_anywhere_costs_at_most_the_record_it_is_in() {
    let (whole, clock) = five_records();
    let name = file_names::segment(1);
    let len = whole.used() as usize;
    for bit in SEGMENT_HEAD_LEN * 8..len * 8 {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let engine = workload::open(&disk, &clock).unwrap();
        let live = live(&engine, &clock);
        assert!(live.len() >= 4, "after bit {bit} only {live:?} are live");
        let stats = engine.stats();
        assert!(stats.damaged + stats.torn_bytes > 0, "bit {bit} is noticed");
    }
}

#[test]
fn damage_does_not_bring_an_older_state_back() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = |data: &'static [u8]| {
        let data = Bytes::from_static(data);
        engine.write(&key(1), &data, LIFE, Expected::Any).unwrap();
    };
    write(b"older");
    write(b"newer");
    engine.log.finish().unwrap();
    disk.tamper(&file_names::segment(1), |bytes| {
        let at = bytes.windows(5).position(|five| five == b"newer").unwrap();
        bytes[at] ^= 1;
    });
    let engine = workload::open(&disk, &clock).unwrap();
    assert!(matches!(
        engine.entry_state(&key(1), clock.now()),
        EntryState::Absent
    ));
    assert_eq!(engine.stats().damaged, 1);
}

#[test]
fn a_log_cut_off_at_any_length_opens_with_the_records_before_the_cut() {
    let (whole, clock) = five_records();
    let name = file_names::segment(1);
    for len in SEGMENT_HEAD_LEN..whole.used() as usize {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes.truncate(len));
        let engine = workload::open(&disk, &clock).unwrap();
        let live = live(&engine, &clock);
        assert_eq!(live, (1..=live.len() as u8).collect::<Vec<_>>());
        assert_eq!(engine.stats().damaged, 0);
    }
}

#[test]
fn frames_hidden_in_session_data_are_never_taken_for_frames() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    // The data is a copy of the log, which has a frame of another key. Then the header of the frame
    // that holds this data is damaged.
    engine
        .write(&key(2), &Bytes::from_static(b"real"), LIFE, Expected::Any)
        .unwrap();
    engine.destroy(&key(2)).unwrap();
    let segment = engine.log.segment(1).unwrap();
    let log = Bytes::from(segment.read_all(engine.log.disk()).unwrap());
    let salt = segment.salt;
    let other_salt: Vec<u8> = log.iter().map(|byte| byte ^ 1).collect();
    assert!(Frames::new(&other_salt, salt).all(|item| !matches!(item, SegmentItem::Frame { .. })));
    engine.write(&key(1), &log, LIFE, Expected::Any).unwrap();
    engine
        .write(&key(3), &Bytes::new(), LIFE, Expected::Any)
        .unwrap();
    engine.log.finish().unwrap();
    let at = log.len();
    disk.tamper(&file_names::segment(1), |bytes| {
        bytes[at + HEADER_LEN + 1] ^= 1
    });
    let engine = workload::open(&disk, &clock).unwrap();
    assert!(matches!(
        engine.entry_state(&key(2), clock.now()),
        EntryState::Tombstone(_)
    ));
    assert!(matches!(
        engine.entry_state(&key(1), clock.now()),
        EntryState::Absent
    ));
    assert!(matches!(
        engine.entry_state(&key(3), clock.now()),
        EntryState::Live(_)
    ));
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let (disk, clock) = five_records();
    disk.tamper(&file_names::segment(1), |bytes| bytes[8] = 9);
    let refused = workload::open(&disk, &clock).err().unwrap();
    assert!(matches!(
        refused,
        FileError::NewerFormat {
            found: 9,
            known: 1,
            ..
        }
    ));
    assert!(refused.to_string().contains("0000000001.log"), "{refused}");
}

#[test]
fn a_damaged_head_is_an_error_unless_loss_is_accepted() {
    let (disk, clock) = five_records();
    disk.tamper(&file_names::segment(1), |bytes| bytes[20] ^= 1);
    let refused = workload::open(&disk, &clock).err().unwrap();
    assert!(
        matches!(refused, FileError::DamagedSegment { .. }),
        "{refused}"
    );
}

#[test]
fn a_hint_does_not_bring_back_the_tags_of_a_session_that_expired() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = || {
        let data = Bytes::from(vec![7; 900]);
        engine
            .write(&key(1), &data, LIFE, Expected::Any)
            .map(|_| ())
    };
    write().unwrap();
    engine.tag(&key(1), &Tag::new("user").unwrap()).unwrap();
    engine.log.roll(&mut engine.log.lock()).unwrap();
    clock.advance(LIFE);
    // The first write begins another session; only the second is still needed.
    write().unwrap();
    write().unwrap();
    engine.log.roll(&mut engine.log.lock()).unwrap();
    engine
        .log
        .write_hint(&engine.log.segment(2).unwrap())
        .unwrap();
    engine.log.finish().unwrap();
    let engine = workload::open(&disk, &clock).unwrap();
    assert_eq!(engine.stats().hints_used, 1);
    assert_eq!(engine.stats().tagged, 0);
}

#[test]
fn preallocated_space_is_no_damage_wherever_a_crash_leaves_it() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = |number: u8| {
        let data = Bytes::from(vec![number; 100]);
        let written = engine.write(&key(number), &data, LIFE, Expected::Any);
        written.map(|_| ()).unwrap();
    };
    (1..=3).for_each(write);
    engine.log.roll(&mut engine.log.lock()).unwrap();
    (4..=5).for_each(write);
    // As if the preallocated space of an ended segment could not be released.
    disk.tamper(&file_names::segment(1), |bytes| bytes.extend([0; 300]));
    let tail = u64::from(engine.log.lock().end_position().offset);
    let len = |name: &str| {
        let mut len = 0;
        disk.tamper(name, |bytes| len = bytes.len() as u64);
        len
    };
    assert!(len(&file_names::segment(2)) > tail, "space is preallocated");
    // The process ends without closing the store.
    let engine = workload::open(&disk, &clock).unwrap();
    assert_eq!(live(&engine, &clock), [1, 2, 3, 4, 5]);
    let stats = engine.stats();
    assert_eq!((stats.damaged, stats.torn_bytes), (0, 0));
    assert_eq!(stats.disk_bytes, disk.used());
    engine.log.finish().unwrap();
    assert_eq!(
        len(&file_names::segment(2)),
        u64::from(engine.log.lock().end_position().offset)
    );
}
