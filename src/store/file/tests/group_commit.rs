//! Writes that are done together.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        Durability, FileError, FileStore,
        engine::Engine,
        frame::HEADER,
        recover,
        write::{Attempt, Draft},
    },
    disk::SimDisk,
    workload::{clock, open},
};
use crate::{
    id::StoreKey,
    store::{Expected, Version, WriteOutcome},
};

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

fn draft(engine: &Engine, number: u8, len: usize, expected: Expected) -> Draft {
    let data = Bytes::from(vec![number; len]);
    engine
        .draft(&key(number), &data, Duration::from_secs(60), expected)
        .unwrap()
}

fn version(attempt: &Attempt) -> Version {
    match attempt {
        Attempt::Answered((WriteOutcome::Done(version), _)) => *version,
        _ => panic!("it is written"),
    }
}

#[test]
fn many_writers_take_one_append() {
    let disk = SimDisk::with(None);
    let engine = open(&disk, &clock()).unwrap();
    let drafts: Vec<_> = (0..9)
        .map(|n| draft(&engine, n, 10, Expected::Any))
        .collect();
    let before = disk.operations();
    let answers = engine.write_group(&drafts);
    assert_eq!(disk.operations() - before, 1);
    let versions: Vec<_> = answers.iter().flatten().map(version).collect();
    assert_eq!(versions.len(), 9);
    assert!(versions.is_sorted_by(|one, next| one < next));
}

#[test]
fn of_two_writers_of_one_version_in_one_group_the_second_meets_a_conflict() {
    let engine = open(&SimDisk::with(None), &clock()).unwrap();
    let first = engine.write_group(&[draft(&engine, 1, 10, Expected::Absent)]);
    let seen = Expected::Version(version(first[0].as_ref().unwrap()));
    engine.destroy(&key(3)).unwrap();
    let answers = engine.write_group(&[
        draft(&engine, 1, 20, seen),
        draft(&engine, 2, 20, Expected::Absent),
        draft(&engine, 1, 30, seen),
        draft(&engine, 3, 20, Expected::Any),
    ]);
    let [
        Ok(one),
        Ok(two),
        Ok(Attempt::Conflict),
        Ok(Attempt::Answered((WriteOutcome::Gone, _))),
    ] = &answers[..]
    else {
        panic!("each is answered as if it stood alone");
    };
    assert!(version(one) < version(two));
    assert_eq!(engine.index.get(&key(1)).unwrap().len, 20);
}

#[test]
fn where_a_group_finds_no_room_those_that_do_are_written() {
    let disk = SimDisk::with(None);
    let options = FileStore::builder("simulated").durability(Durability::Always);
    let options = options.segment_bytes(1 << 20).clock(clock());
    let engine = recover::open(Box::new(disk.clone()), options).unwrap();
    // Opening has made room ahead; nearly all of it is taken.
    let ahead = disk.used() - engine.lock_log().tail;
    let len = (ahead as usize).checked_sub(HEADER + 10).unwrap();
    engine.write_group(&[draft(&engine, 9, len, Expected::Any)]);
    assert_eq!(disk.used() - engine.lock_log().tail, 10);
    // Enough for all but the second.
    let lens = [50, 700, 300, 20];
    disk.leave_room(3 * HEADER as u64 + 50 + 300 + 20 - 10);
    let drafts: Vec<_> = (0..4)
        .map(|n| draft(&engine, n, lens[usize::from(n)], Expected::Any))
        .collect();
    let answers = engine.write_group(&drafts);
    let written: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(written, [true, false, true, true]);
    assert!(answers[1].as_ref().is_err_and(FileError::is_full));
    let there = |number| engine.index.get(&key(number)).is_some();
    assert_eq!([0, 1, 2, 3].map(there), [true, false, true, true]);
    assert_eq!(engine.stats().disk_bytes, disk.used());
}
