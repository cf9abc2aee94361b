//! Damaged and unusual files.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        FileError, OnDamage,
        format::{
            damaged_places::{self, DamagedPlace, MAX_PLACES},
            file_names,
            frame::HEADER_LEN,
            frames::{Frames, SegmentItem},
            segment_head::{FORMAT_VERSION, LogFormat, SEGMENT_HEAD_LEN},
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
    store::{Expected, Tag, Tags, WriteRequest},
};

const LIFE: Duration = Duration::from_secs(60);

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

fn write(engine: &FileEngine, number: u8, data: impl Into<Bytes>) {
    let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
    engine.write(&request).map(|_| ()).unwrap();
}

/// Returns a closed store with records of 100 bytes under the keys 1 to 5.
fn five_records() -> (SimDisk, Clock) {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=5 {
        write(&engine, number, vec![number; 100]);
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
fn a_flipped_bit_anywhere_prevents_the_opening_or_costs_nothing() {
    let (whole, clock) = five_records();
    let name = file_names::segment(1);
    let len = whole.used() as usize;
    let mut refused = 0;
    for bit in SEGMENT_HEAD_LEN * 8..len * 8 {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        match workload::open(&disk, &clock) {
            Ok(engine) => assert_eq!(live(&engine, &clock), [1, 2, 3, 4, 5], "bit {bit}"),
            Err(FileError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
    // Only the last frame, which shows that the store was closed, may be damaged.
    assert_eq!(refused, (len - SEGMENT_HEAD_LEN - HEADER_LEN) * 8);
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_it_is_in_if_loss_is_allowed() {
    let (whole, clock) = five_records();
    let name = file_names::segment(1);
    let len = whole.used() as usize;
    for bit in SEGMENT_HEAD_LEN * 8..len * 8 {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let engine = workload::open_damaged(&disk, &clock, OnDamage::AllowDataLoss).unwrap();
        let after = live(&engine, &clock);
        assert!(after.len() >= 4, "after bit {bit} only {after:?} are live");
        let stats = engine.stats();
        assert!(stats.damaged + stats.torn_bytes > 0, "bit {bit} is noticed");
        let again = workload::open(&disk, &clock).expect("the loss is recorded in the log");
        assert_eq!(live(&again, &clock), after);
    }
}

#[test]
fn damage_does_not_bring_an_older_state_back() {
    for on_damage in [OnDamage::DropUncertain, OnDamage::AllowDataLoss] {
        let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
        let engine = workload::open(&disk, &clock).unwrap();
        write(&engine, 1, "older");
        write(&engine, 1, "newer");
        engine.log.finish().unwrap();
        disk.tamper(&file_names::segment(1), |bytes| {
            let at = bytes.windows(5).position(|five| five == b"newer").unwrap();
            bytes[at] ^= 1;
        });
        let engine = workload::open_damaged(&disk, &clock, on_damage).unwrap();
        let state = engine.entry_state(&key(1), clock.now());
        assert!(matches!(state, EntryState::Absent));
        assert_eq!(engine.stats().damaged, 1);
        let again = workload::open(&disk, &clock).expect("the loss is recorded in the log");
        let state = again.entry_state(&key(1), clock.now());
        assert!(matches!(state, EntryState::Absent));
        assert_eq!(again.stats().damaged, 0, "the damage was handled");
    }
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
    write(&engine, 2, "real");
    engine.destroy(&key(2)).unwrap();
    let segment = engine.log.segment(1).unwrap();
    let log = Bytes::from(segment.read_all(engine.log.disk()).unwrap());
    let salt = segment.salt;
    let other_salt: Vec<u8> = log.iter().map(|byte| byte ^ 1).collect();
    assert!(
        Frames::new(&other_salt, salt, LogFormat::V2)
            .all(|item| !matches!(item, SegmentItem::Frame { .. }))
    );
    let at = log.len();
    write(&engine, 1, log);
    write(&engine, 3, Bytes::new());
    engine.log.finish().unwrap();
    disk.tamper(&file_names::segment(1), |bytes| {
        bytes[at + HEADER_LEN + 1] ^= 1
    });
    let engine = workload::open_damaged(&disk, &clock, OnDamage::AllowDataLoss).unwrap();
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
fn another_format_is_refused_with_its_number() {
    for other in [0, 9] {
        let (disk, clock) = five_records();
        disk.tamper(&file_names::segment(1), |bytes| {
            bytes[8] = other;
            let crc = crc32fast::hash(&bytes[..28]);
            bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        });
        let refused = workload::open(&disk, &clock).err().unwrap();
        let FileError::UnsupportedFormat {
            found, supported, ..
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((found, supported), (other.into(), FORMAT_VERSION));
        assert!(refused.to_string().contains("0000000001.log"), "{refused}");
    }
}

#[test]
fn a_damaged_version_is_not_taken_for_another_format() {
    for bit in 0..32 {
        let (disk, clock) = five_records();
        disk.tamper(&file_names::segment(1), |bytes| {
            bytes[8 + bit / 8] ^= 1 << (bit % 8);
        });
        let refused = workload::open(&disk, &clock).err().unwrap();
        assert!(matches!(refused, FileError::Damaged { .. }), "{refused}");
    }
}

#[test]
fn a_damaged_head_is_an_error() {
    let (disk, clock) = five_records();
    disk.tamper(&file_names::segment(1), |bytes| bytes[20] ^= 1);
    let refused = workload::open(&disk, &clock).err().unwrap();
    assert!(matches!(refused, FileError::Damaged { .. }), "{refused}");
}

#[test]
fn a_hint_has_the_tags_and_no_data() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let tag = Tag::new("user-7").unwrap();
    let mut tags = Tags::new();
    tags.insert(&tag).unwrap();
    for number in [1, 2, 3] {
        let request = WriteRequest::new(&key(number), vec![number; 900], LIFE, Expected::Any);
        engine
            .write(&request.tags(tags.clone()))
            .map(|_| ())
            .unwrap();
    }
    // These two lose their tags.
    write(&engine, 2, vec![2; 900]);
    engine.destroy(&key(3)).unwrap();
    engine.log.finish().unwrap();
    engine
        .log
        .write_hint(&engine.log.segment(1).unwrap())
        .unwrap();
    // Only an opening from the hint can find the tags.
    disk.tamper(&file_names::segment(1), |bytes| {
        for at in 0..bytes.len() {
            if bytes[at..].starts_with(b"user-7") {
                bytes[at] ^= 1;
            }
        }
    });
    let engine = workload::open(&disk, &clock).unwrap();
    assert_eq!(engine.stats().hints_used, 1);
    assert_eq!(engine.tagged(&tag).unwrap().0, [key(1)]);
    assert_eq!(engine.stats().tagged, 1);
}

#[test]
fn sessions_are_listed_under_a_tag_only_once_that_is_durable() {
    let engine = workload::open(&SimDisk::with_fault(None), &workload::clock()).unwrap();
    let tag = Tag::new("user-7").unwrap();
    let mut tags = Tags::new();
    tags.insert(&tag).unwrap();
    for tags in [tags, Tags::new()] {
        let listed = !tags.is_empty();
        let request = WriteRequest::new(&key(1), "data", LIFE, Expected::Any).tags(tags);
        engine.write(&request).map(|_| ()).unwrap();
        let (keys, position) = engine.tagged(&tag).unwrap();
        assert_eq!(
            (keys.len(), engine.log.is_durable(position)),
            (usize::from(listed), false)
        );
        engine.log.sync().unwrap();
        let (_, position) = engine.tagged(&tag).unwrap();
        assert!(engine.log.is_durable(position));
    }
}

#[test]
fn preallocated_space_is_no_damage_wherever_a_crash_leaves_it() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = |number: u8| write(&engine, number, vec![number; 100]);
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

#[test]
fn damaged_places_are_joined_and_bounded() {
    let place = |begin, end, durable| DamagedPlace {
        begin,
        end,
        durable,
    };
    let places = vec![
        place(50, 60, false),
        place(10, 20, false),
        place(20, 30, true),
        place(55, 58, false),
        place(70, 70, true),
    ];
    let joined = damaged_places::join(places);
    assert_eq!(joined, [place(10, 30, true), place(50, 60, false)]);
    let found = |begin, end| damaged_places::find(&joined, begin, end).copied();
    assert_eq!(found(10, 30), Some(joined[0]));
    assert_eq!(found(52, 53), Some(joined[1]));
    for (begin, end) in [(9, 12), (25, 31), (30, 50), (50, 61), (60, 61), (0, 90)] {
        assert_eq!(found(begin, end), None, "{begin} to {end}");
    }
    let payload = damaged_places::encode(&joined);
    assert_eq!(payload.len(), 34);
    assert_eq!(damaged_places::decode(&payload), Some(joined));
    for wrong in [
        vec![place(10, 30, true), place(30, 40, true)],
        vec![place(10, 30, true), place(5, 7, true)],
        vec![place(10, 10, true)],
    ] {
        assert_eq!(
            damaged_places::decode(&damaged_places::encode(&wrong)),
            None
        );
    }
    assert_eq!(damaged_places::decode(&payload[..20]), None);
    let many = |count: u64| (0..count).map(move |at| place(at * 10, at * 10 + 5, at == count - 1));
    let max = MAX_PLACES as u64;
    for count in [max, max + 1, max + 10] {
        let mut places: Vec<_> = many(count).collect();
        damaged_places::limit(&mut places);
        let last = place((max - 1) * 10, count * 10 - 5, true);
        assert_eq!((places.len(), places.last()), (MAX_PLACES, Some(&last)));
    }
}
