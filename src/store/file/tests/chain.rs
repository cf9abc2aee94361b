//! Segments that lost their end, or are not the ones that the next segment follows.

use std::{io::ErrorKind, time::Duration};

use super::{
    super::{
        FileError, FindingKind, OnDamage,
        format::{file_names, segment_head::SEGMENT_HEAD_LEN},
        log::{
            engine::{EntryState, FileEngine},
            read::FetchOutcome,
        },
    },
    disk::{Crash, Fault, SimDisk},
    workload,
};
use crate::{
    clock::Clock,
    id::StoreKey,
    store::{Expected, WriteRequest, file::disk::Disk},
};

pub(super) const LIFE: Duration = Duration::from_secs(600);

pub(super) fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

pub(super) fn write(engine: &FileEngine, number: u8) {
    let request = WriteRequest::new(&key(number), vec![number; 100], LIFE, Expected::Any);
    engine.write(&request).map(|_| ()).unwrap();
}

pub(super) fn live(engine: &FileEngine, clock: &Clock) -> Vec<u8> {
    let is_live = |number: &u8| {
        let state = engine.entry_state(&key(*number), clock.now());
        matches!(state, EntryState::Live(_))
    };
    (1..=9).filter(is_live).collect()
}

pub(super) fn bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    let mut copy = Vec::new();
    disk.tamper(name, |bytes| copy.clone_from(bytes));
    copy
}

/// Returns a closed store of three segments, with records under the keys 1 to 3, 4 to 6 and 7 to 9.
pub(super) fn three_segments() -> (SimDisk, Clock) {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=9 {
        write(&engine, number);
        if number % 3 == 0 && number < 9 {
            engine.log.roll(&mut engine.log.lock()).unwrap();
        }
    }
    engine.log.finish().unwrap();
    (disk, clock)
}

/// Checks that the default refuses the disk, and what the other settings keep, also when the store is
/// opened again.
fn check_refused(disk: &SimDisk, clock: &Clock, kind: FindingKind, certain: &[u8], allowed: &[u8]) {
    let before: Vec<_> = (1..=3)
        .map(|id| bytes(disk, &file_names::segment(id)))
        .collect();
    let Some(FileError::Damaged { finding }) = workload::open(disk, clock).err() else {
        panic!("the damage is noticed");
    };
    assert_eq!(finding.kind, kind, "{finding}");
    let after: Vec<_> = (1..=3)
        .map(|id| bytes(disk, &file_names::segment(id)))
        .collect();
    assert_eq!(before, after, "a refused opening changes nothing");
    for (on_damage, kept) in [
        (OnDamage::DropUncertain, certain),
        (OnDamage::AllowDataLoss, allowed),
    ] {
        let disk = disk.crash(Crash::Process, None);
        let engine = workload::open_damaged(&disk, clock, on_damage).unwrap();
        assert_eq!(live(&engine, clock), kept, "{on_damage:?}");
        drop(engine);
        let engine = workload::open(&disk, clock).expect("the loss is recorded in the log");
        assert_eq!(live(&engine, clock), kept, "{on_damage:?}, opened again");
    }
}

#[test]
fn a_segment_cut_off_at_any_length_is_noticed() {
    let (whole, clock) = three_segments();
    let name = file_names::segment(2);
    let len = bytes(&whole, &name).len();
    for cut in SEGMENT_HEAD_LEN..len {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes.truncate(cut));
        let offset = |index: usize| SEGMENT_HEAD_LEN + 88 + index * 168;
        let left = (1..=3).filter(|index| offset(*index) <= cut).count() as u8;
        let mut allowed: Vec<u8> = (1..=3 + left).collect();
        allowed.extend(7..=9);
        check_refused(&disk, &clock, FindingKind::LostEnd, &[7, 8, 9], &allowed);
    }
}

#[test]
fn a_segment_cut_off_in_handled_damage_is_noticed() {
    let (disk, clock) = three_segments();
    let name = file_names::segment(2);
    let (begin, len) = (SEGMENT_HEAD_LEN + 88, 168);
    disk.tamper(&name, |bytes| bytes[begin + 100] ^= 1);
    let engine = workload::open_damaged(&disk, &clock, OnDamage::DropUncertain).unwrap();
    assert_eq!(live(&engine, &clock), [5, 6, 7, 8, 9]);
    engine.log.finish().unwrap();
    drop(engine);
    for cut in begin..=begin + len {
        let disk = disk.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes.truncate(cut));
        check_refused(&disk, &clock, FindingKind::LostEnd, &[7, 8, 9], &[7, 8, 9]);
    }
}

/// The start frame of the next segment is damaged, so it does not show where the segment ended.
#[test]
fn a_segment_cut_off_before_a_damaged_start_frame_is_noticed() {
    let (disk, clock) = three_segments();
    let name = file_names::segment(2);
    let (begin, len) = (SEGMENT_HEAD_LEN + 88, 168);
    disk.tamper(&name, |bytes| bytes[begin + 100] ^= 1);
    disk.tamper(&file_names::segment(3), |bytes| {
        bytes[SEGMENT_HEAD_LEN + 70] ^= 1;
    });
    let engine = workload::open_damaged(&disk, &clock, OnDamage::AllowDataLoss).unwrap();
    assert_eq!(live(&engine, &clock), [1, 2, 3, 5, 6, 7, 8, 9]);
    engine.log.finish().unwrap();
    drop(engine);
    for cut in begin..bytes(&disk, &name).len() {
        let disk = disk.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| bytes.truncate(cut));
        let is_left = |number: &u8| match number {
            4 => false,
            5 => cut >= begin + 2 * len,
            6 => cut >= begin + 3 * len,
            _ => true,
        };
        let allowed: Vec<u8> = (1..=9).filter(is_left).collect();
        check_refused(&disk, &clock, FindingKind::LostEnd, &[7, 8, 9], &allowed);
    }
}

/// The lost end is in another segment, so its length is not known.
#[test]
fn an_end_lost_with_the_segments_after_it_is_noticed() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=3 {
        write(&engine, number);
        engine.log.sync().unwrap();
        engine.log.roll(&mut engine.log.lock()).unwrap();
    }
    engine.log.finish().unwrap();
    for id in 2..=4 {
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(SEGMENT_HEAD_LEN);
        disk.tamper(&file_names::segment(id), cut);
    }
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(200);
    disk.tamper(&file_names::segment(1), cut);
    let Some(FileError::Damaged { finding }) = workload::open(&disk, &clock).err() else {
        panic!("the damage is noticed");
    };
    assert_eq!(finding.path, disk.locate(&file_names::segment(1)));
    assert_eq!(finding.to_string(), "the end is missing from offset 104");
}

#[test]
fn an_end_that_became_zeros_is_noticed() {
    let (disk, clock) = three_segments();
    disk.tamper(&file_names::segment(2), |bytes| bytes[300..].fill(0));
    let allowed = [1, 2, 3, 4, 7, 8, 9];
    check_refused(&disk, &clock, FindingKind::LostEnd, &[7, 8, 9], &allowed);
}

#[test]
fn a_segment_of_another_store_is_noticed() {
    let (disk, clock) = three_segments();
    let (other, _) = three_segments();
    let foreign = bytes(&other, &file_names::segment(2));
    disk.tamper(&file_names::segment(2), |bytes| *bytes = foreign);
    let allowed = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    check_refused(&disk, &clock, FindingKind::Replaced, &[7, 8, 9], &allowed);
}

#[test]
fn an_older_copy_of_a_segment_is_noticed() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    (1..=2).for_each(|number| write(&engine, number));
    engine.log.sync().unwrap();
    let older = bytes(&disk, &file_names::segment(1));
    engine.destroy(&key(1)).unwrap();
    engine.log.roll(&mut engine.log.lock()).unwrap();
    write(&engine, 3);
    engine.log.roll(&mut engine.log.lock()).unwrap();
    engine.log.finish().unwrap();
    disk.tamper(&file_names::segment(1), |bytes| *bytes = older);
    // Session 1 was destroyed after the copy, so nothing before the lost end is certain.
    check_refused(&disk, &clock, FindingKind::LostEnd, &[3], &[1, 2, 3]);
}

#[test]
fn a_touch_after_the_damage_shows_that_a_record_is_certain() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    (1..=3).for_each(|number| write(&engine, number));
    engine.log.roll(&mut engine.log.lock()).unwrap();
    engine.touch(&key(2), LIFE).unwrap();
    engine.log.roll(&mut engine.log.lock()).unwrap();
    engine.log.finish().unwrap();
    disk.tamper(&file_names::segment(1), |bytes| bytes.truncate(450));
    check_refused(&disk, &clock, FindingKind::LostEnd, &[2], &[1, 2]);
}

#[test]
fn the_last_segment_of_a_closed_store_cut_off_is_noticed() {
    let (whole, clock) = three_segments();
    let engine = workload::open(&whole, &clock).unwrap();
    engine.log.finish().unwrap();
    let last = engine.log.segment(3).unwrap();
    engine.log.write_last_hint(&last).unwrap();
    let len = bytes(&whole, &file_names::segment(3)).len();
    // Without the last frame, which shows that the store was closed, no session is lost.
    for cut in SEGMENT_HEAD_LEN..len - 68 {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&file_names::segment(3), |bytes| bytes.truncate(cut));
        let refused = workload::open(&disk, &clock).err();
        assert!(
            matches!(refused, Some(FileError::Damaged { .. })),
            "at {cut}"
        );
        let engine = workload::open_damaged(&disk, &clock, OnDamage::DropUncertain).unwrap();
        let left = live(&engine, &clock);
        assert!(left.is_empty(), "every session is older than the damage");
        write(&engine, 1);
        drop(engine);
        let engine = workload::open(&disk, &clock).expect("the loss is recorded in the log");
        assert_eq!(live(&engine, &clock), [1]);
    }
}

#[test]
fn the_next_segment_shows_how_far_the_last_one_was_durable() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=9 {
        write(&engine, number);
    }
    engine.log.sync().unwrap();
    engine.log.prepare_next().unwrap();
    assert!(
        engine.log.segment(2).is_some(),
        "the next segment was created early"
    );
    for cut in [SEGMENT_HEAD_LEN, 400, 900] {
        let disk = disk.crash(Crash::Process, None);
        disk.tamper(&file_names::segment(1), |bytes| bytes.truncate(cut));
        let refused = workload::open(&disk, &clock).err();
        assert!(
            matches!(refused, Some(FileError::Damaged { .. })),
            "at {cut}"
        );
    }
}

/// The segment after the newest one, which was created early, shows that the newest one was durable.
#[test]
fn the_newest_segment_is_named_if_it_is_missing() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    write(&engine, 1);
    engine.log.roll(&mut engine.log.lock()).unwrap();
    (2..=9).for_each(|number| write(&engine, number));
    engine.log.sync().unwrap();
    for created_early in [false, true] {
        if created_early {
            engine.log.prepare_next().unwrap();
        }
        assert_eq!(engine.log.segment(3).is_some(), created_early);
        let disk = disk.crash(Crash::Process, None);
        disk.remove(&file_names::segment(2)).unwrap();
        let refused = workload::open(&disk, &clock).err();
        let Some(FileError::Damaged { finding }) = refused else {
            panic!("created early: {created_early}");
        };
        assert_eq!(finding.path, disk.locate(&file_names::segment(2)));
        assert_eq!(finding.kind, FindingKind::Missing { segments: 1 });
        let engine = workload::open_damaged(&disk, &clock, OnDamage::AllowDataLoss).unwrap();
        assert_eq!(live(&engine, &clock), [1]);
    }
}

#[test]
fn a_segment_emptied_by_damage_is_not_taken_for_a_compacted_one() {
    for id in 1..=3 {
        let (disk, clock) = three_segments();
        disk.tamper(&file_names::segment(id), Vec::clear);
        let refused = workload::open(&disk, &clock).err();
        assert!(
            matches!(refused, Some(FileError::Damaged { .. })),
            "segment {id}"
        );
        let engine = workload::open_damaged(&disk, &clock, OnDamage::DropUncertain).unwrap();
        write(&engine, 1);
        drop(engine);
        let engine = workload::open(&disk, &clock).expect("the loss is recorded in the log");
        assert!(live(&engine, &clock).contains(&1), "segment {id}");
    }
}

/// Stores with a lost end, which an empty segment, hints or an end frame show.
fn stores_with_a_loss() -> Vec<(SimDisk, Clock)> {
    let (next, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&next, &clock).unwrap();
    (1..=9).for_each(|number| write(&engine, number));
    engine.log.sync().unwrap();
    engine.log.prepare_next().unwrap();
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(400);
    next.tamper(&file_names::segment(1), cut);
    let (hints, hints_clock, last) = segments_with_hints();
    hints.tamper(&file_names::segment(last), cut);
    let (missing, missing_clock) = three_segments();
    missing.remove(&file_names::segment(3)).unwrap();
    vec![
        (next, clock),
        (hints, hints_clock),
        (missing, missing_clock),
    ]
}

#[test]
fn an_interrupted_repair_hides_no_loss() {
    let settings = [OnDamage::DropUncertain, OnDamage::AllowDataLoss];
    let cases = stores_with_a_loss().into_iter().enumerate();
    for ((case, (damaged, clock)), on_damage) in
        cases.flat_map(|case| settings.map(|setting| (case.clone(), setting)))
    {
        let whole = damaged.crash(Crash::Process, None);
        let engine = workload::open_damaged(&whole, &clock, on_damage).unwrap();
        let kept = live(&engine, &clock);
        let operations = whole.operations();
        let mut refused = 0;
        for at in 0..operations {
            for fault in [Fault::PowerOff, Fault::Once(ErrorKind::Other)] {
                for crash in (0..8).map(Crash::Power).chain([Crash::Process]) {
                    let disk = damaged.crash(Crash::Process, Some((at, fault)));
                    let _ = workload::open_damaged(&disk, &clock, on_damage);
                    let after = disk.crash(crash, None);
                    match workload::open(&after, &clock) {
                        Ok(engine) => assert_eq!(
                            live(&engine, &clock),
                            kept,
                            "store {case}, {on_damage:?}, {fault:?} at {at}, {crash:?}"
                        ),
                        Err(FileError::Damaged { .. }) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        assert!(refused > 0, "store {case}, {on_damage:?}");
    }
}

#[test]
fn versions_go_up_after_a_loss() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let mut newest = 0;
    for _ in 0..3 {
        let engine = workload::open(&disk, &clock).unwrap();
        write(&engine, 1);
        newest = engine.index.get(&key(1)).unwrap().version;
        engine.log.roll(&mut engine.log.lock()).unwrap();
        engine.log.finish().unwrap();
    }
    for id in 1..=3 {
        disk.tamper(&file_names::segment(id), |bytes| {
            bytes.truncate(SEGMENT_HEAD_LEN)
        });
    }
    let engine = workload::open_damaged(&disk, &clock, OnDamage::DropUncertain).unwrap();
    write(&engine, 1);
    assert!(engine.index.get(&key(1)).unwrap().version > newest);
}

/// Returns a closed store whose segments all have hints, and their number. Its records are long enough
/// for hints.
pub(super) fn segments_with_hints() -> (SimDisk, Clock, u32) {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 1..=9 {
        let request = WriteRequest::new(&key(number), vec![number; 900], LIFE, Expected::Any);
        engine.write(&request).map(|_| ()).unwrap();
    }
    engine.log.finish().unwrap();
    let last = engine.log.lock().active().id;
    for id in 1..=last {
        engine
            .log
            .write_hint(&engine.log.segment(id).unwrap())
            .unwrap();
    }
    (disk, clock, last)
}

#[test]
fn an_intact_hint_does_not_hide_that_its_segment_was_cut_off() {
    let (whole, clock, last) = segments_with_hints();
    let engine = workload::open(&whole.crash(Crash::Process, None), &clock).unwrap();
    assert_eq!(engine.stats().hints_used, u64::from(last));
    for id in 1..=last {
        let name = file_names::segment(id);
        let len = bytes(&whole, &name).len();
        for cut in SEGMENT_HEAD_LEN..len {
            let disk = whole.crash(Crash::Process, None);
            disk.tamper(&name, |bytes| bytes.truncate(cut));
            match workload::open(&disk, &clock).err() {
                Some(FileError::Damaged { finding }) => {
                    assert_eq!(finding.kind, FindingKind::LostEnd, "{finding}");
                }
                // The last frame shows only that the store was closed.
                None => assert!(id == last && cut >= len - 68, "segment {id} at {cut}"),
                Some(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn an_intact_hint_does_not_hide_that_the_end_of_its_segment_became_zeros() {
    let (whole, clock, last) = segments_with_hints();
    for id in 1..=last {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&file_names::segment(id), |bytes| {
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
        });
        let Some(FileError::Damaged { finding }) = workload::open(&disk, &clock).err() else {
            panic!("segment {id}");
        };
        assert_eq!(finding.kind, FindingKind::LostEnd, "{finding}");
    }
}

#[test]
fn damage_behind_an_intact_hint_costs_the_session_and_serves_no_older_state() {
    let (disk, clock, last) = segments_with_hints();
    let mut half = 0;
    // Length and last frame are the same, so only `verify_on_open` would read the segment.
    disk.tamper(&file_names::segment(2), |bytes| {
        half = bytes.len() / 2;
        let last = bytes.len() - 68;
        bytes[half..last].fill(0);
    });
    let engine = workload::open(&disk, &clock).unwrap();
    let stats = engine.stats();
    assert_eq!((stats.hints_used, stats.damaged), (u64::from(last), 0));
    let is_intact = |number: &u8| {
        let position = engine.index.get(&key(*number)).unwrap().position;
        position.segment != 2 || position.offset as usize + 68 + 900 <= half
    };
    let intact: Vec<u8> = (1..=9).filter(is_intact).collect();
    let lost = 9 - intact.len() as u64;
    assert!(lost > 0);
    let is_readable = |number: &u8| {
        let EntryState::Live(entry) = engine.entry_state(&key(*number), clock.now()) else {
            return false;
        };
        match engine.fetch(&key(*number), entry, true).unwrap() {
            FetchOutcome::Record(record) => {
                assert_eq!(record.data, vec![*number; 900]);
                true
            }
            _ => false,
        }
    };
    let readable: Vec<u8> = (1..=9).filter(is_readable).collect();
    assert_eq!(readable, intact);
    assert_eq!(engine.stats().damaged, lost, "each is reported");
    assert_eq!(live(&engine, &clock), intact, "the others are gone");
}
