//! Bytes that are not what they should be.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        FileError,
        engine::{Engine, Standing},
        names,
        ops::Fetched,
        scan::{Frames, Piece},
        segment::HEAD,
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

/// A store with records under the keys 1 to 5, of 100 bytes each, closed in good order.
fn five_records() -> (SimDisk, Clock) {
    let (disk, clock) = (SimDisk::with(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=5 {
        let data = Bytes::from(vec![number; 100]);
        engine
            .write(&key(number), &data, LIFE, Expected::Any)
            .unwrap();
    }
    engine.finish().unwrap();
    (disk, clock)
}

fn live(engine: &Engine, clock: &Clock) -> Vec<u8> {
    let live = |number: &u8| {
        let key = key(*number);
        let Standing::Live(entry) = engine.standing(&key, clock.now()) else {
            return false;
        };
        match engine.fetch(&key, entry, true).unwrap() {
            Fetched::Record(record) => {
                assert_eq!(record.data, vec![*number; 100], "data is served as written");
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
    let name = names::segment(1);
    let len = whole.used() as usize;
    for bit in HEAD * 8..len * 8 {
        let disk = whole.after(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let engine = workload::open(&disk, &clock).unwrap();
        let found = live(&engine, &clock);
        assert!(found.len() >= 4, "bit {bit} left {found:?}");
        let stats = engine.stats();
        assert!(stats.damaged + stats.torn_bytes > 0, "bit {bit} is noticed");
    }
}

#[test]
fn damage_does_not_bring_an_older_state_back() {
    let (disk, clock) = (SimDisk::with(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = |data: &'static [u8]| {
        let data = Bytes::from_static(data);
        engine.write(&key(1), &data, LIFE, Expected::Any).unwrap();
    };
    write(b"older");
    write(b"newer");
    engine.finish().unwrap();
    disk.tamper(&names::segment(1), |bytes| {
        let at = bytes.windows(5).position(|five| five == b"newer").unwrap();
        bytes[at] ^= 1;
    });
    let engine = workload::open(&disk, &clock).unwrap();
    assert!(matches!(
        engine.standing(&key(1), clock.now()),
        Standing::Nothing
    ));
    assert_eq!(engine.stats().damaged, 1);
}

#[test]
fn a_log_cut_off_at_any_length_opens_with_the_records_before_the_cut() {
    let (whole, clock) = five_records();
    let name = names::segment(1);
    for len in HEAD..whole.used() as usize {
        let disk = whole.after(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes.truncate(len));
        let engine = workload::open(&disk, &clock).unwrap();
        let found = live(&engine, &clock);
        assert_eq!(found, (1..=found.len() as u8).collect::<Vec<_>>());
        assert_eq!(engine.stats().damaged, 0);
    }
}

#[test]
fn frames_hidden_in_session_data_are_never_taken_for_frames() {
    let (disk, clock) = (SimDisk::with(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    // The data is a copy of the log so far, in which there is a frame of another key; then the
    // head of the frame that holds it is damaged.
    engine
        .write(&key(2), &Bytes::from_static(b"real"), LIFE, Expected::Any)
        .unwrap();
    engine.destroy(&key(2)).unwrap();
    let segment = engine.segment(1).unwrap();
    let log = Bytes::from(engine.read_segment(&segment).unwrap());
    let salt = segment.salt;
    let other_salt: Vec<u8> = log.iter().map(|byte| byte ^ 1).collect();
    assert!(Frames::of(&other_salt, salt).all(|piece| !matches!(piece, Piece::Frame { .. })));
    engine.write(&key(1), &log, LIFE, Expected::Any).unwrap();
    engine
        .write(&key(3), &Bytes::new(), LIFE, Expected::Any)
        .unwrap();
    engine.finish().unwrap();
    let at = log.len();
    disk.tamper(&names::segment(1), |bytes| {
        bytes[at + super::super::frame::HEADER + 1] ^= 1
    });
    let engine = workload::open(&disk, &clock).unwrap();
    assert!(matches!(
        engine.standing(&key(2), clock.now()),
        Standing::Tombstone(_)
    ));
    assert!(matches!(
        engine.standing(&key(1), clock.now()),
        Standing::Nothing
    ));
    assert!(matches!(
        engine.standing(&key(3), clock.now()),
        Standing::Live(_)
    ));
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let (disk, clock) = five_records();
    disk.tamper(&names::segment(1), |bytes| bytes[8] = 9);
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
    disk.tamper(&names::segment(1), |bytes| bytes[20] ^= 1);
    let refused = workload::open(&disk, &clock).err().unwrap();
    assert!(
        matches!(refused, FileError::DamagedSegment { .. }),
        "{refused}"
    );
}

#[test]
fn a_hint_does_not_bring_back_the_tags_of_a_session_that_expired() {
    let (disk, clock) = (SimDisk::with(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = || {
        let data = Bytes::from(vec![7; 900]);
        engine
            .write(&key(1), &data, LIFE, Expected::Any)
            .map(|_| ())
    };
    write().unwrap();
    engine.tag(&key(1), &Tag::new("user").unwrap()).unwrap();
    engine.roll(&mut engine.lock_log()).unwrap();
    clock.advance(LIFE);
    // The first of these begins another session, and only the second is still needed.
    write().unwrap();
    write().unwrap();
    engine.roll(&mut engine.lock_log()).unwrap();
    engine.write_hint(&engine.segment(2).unwrap()).unwrap();
    engine.finish().unwrap();
    let engine = workload::open(&disk, &clock).unwrap();
    assert_eq!(engine.stats().hints_used, 1);
    assert_eq!(engine.stats().tagged, 0);
}

#[test]
fn room_made_ahead_is_no_damage_wherever_a_crash_leaves_it() {
    let (disk, clock) = (SimDisk::with(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    let write = |number: u8| {
        let data = Bytes::from(vec![number; 100]);
        let written = engine.write(&key(number), &data, LIFE, Expected::Any);
        written.map(|_| ()).unwrap();
    };
    (1..=3).for_each(write);
    engine.roll(&mut engine.lock_log()).unwrap();
    (4..=5).for_each(write);
    // As where the room behind an ended segment could not be given back.
    disk.tamper(&names::segment(1), |bytes| bytes.extend([0; 300]));
    let tail = engine.lock_log().tail;
    let len = |name: &str| {
        let mut len = 0;
        disk.tamper(name, |bytes| len = bytes.len() as u64);
        len
    };
    assert!(len(&names::segment(2)) > tail, "there is room ahead");
    // The process ends without closing the store.
    let engine = workload::open(&disk, &clock).unwrap();
    assert_eq!(live(&engine, &clock), [1, 2, 3, 4, 5]);
    let stats = engine.stats();
    assert_eq!((stats.damaged, stats.torn_bytes), (0, 0));
    assert_eq!(stats.disk_bytes, disk.used());
    engine.finish().unwrap();
    assert_eq!(len(&names::segment(2)), engine.lock_log().tail);
}
