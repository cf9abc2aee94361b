//! Group commit.

use std::time::Duration;

use super::{
    super::{
        Durability, FileError, FileStore,
        format::frame::HEADER_LEN,
        log::{
            engine::FileEngine,
            write::{PendingWrite, WriteReply},
        },
        recover,
    },
    disk::SimDisk,
    workload::{clock, open},
};
use crate::{
    id::StoreKey,
    store::{Expected, Version, WriteOutcome, WriteRequest},
};

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

fn pending(engine: &FileEngine, number: u8, len: usize, expected: Expected) -> PendingWrite {
    let (data, ttl) = (vec![number; len], Duration::from_secs(60));
    let request = WriteRequest::new(&key(number), data, ttl, expected);
    engine.prepare_write(&request).unwrap()
}

fn version(reply: &WriteReply) -> Version {
    match reply {
        WriteReply::Answer((WriteOutcome::Done(version), _)) => *version,
        _ => panic!("the write failed"),
    }
}

#[test]
fn many_writers_take_one_append() {
    let disk = SimDisk::with_fault(None);
    let engine = open(&disk, &clock()).unwrap();
    let group: Vec<_> = (0..9)
        .map(|n| pending(&engine, n, 10, Expected::Any))
        .collect();
    let before = disk.operations();
    let answers = engine.write_group(&group);
    assert_eq!(disk.operations() - before, 1);
    let versions: Vec<_> = answers.iter().flatten().map(version).collect();
    assert_eq!(versions.len(), 9);
    assert!(versions.is_sorted_by(|one, next| one < next));
}

#[test]
fn of_two_writers_of_one_version_in_one_group_the_second_meets_a_conflict() {
    let engine = open(&SimDisk::with_fault(None), &clock()).unwrap();
    let first = engine.write_group(&[pending(&engine, 1, 10, Expected::Absent)]);
    let read_version = Expected::Version(version(first[0].as_ref().unwrap()));
    engine.destroy(&key(3)).unwrap();
    let answers = engine.write_group(&[
        pending(&engine, 1, 20, read_version),
        pending(&engine, 2, 20, Expected::Absent),
        pending(&engine, 1, 30, read_version),
        pending(&engine, 3, 20, Expected::Any),
    ]);
    let [
        Ok(one),
        Ok(two),
        Ok(WriteReply::Conflict),
        Ok(WriteReply::Answer((WriteOutcome::Gone, _))),
    ] = &answers[..]
    else {
        panic!("each write is answered as if it were alone");
    };
    assert!(version(one) < version(two));
    assert_eq!(engine.index.get(&key(1)).unwrap().len, 20);
}

#[test]
fn if_a_group_does_not_fit_the_writes_that_fit_are_written() {
    let disk = SimDisk::with_fault(None);
    let options = FileStore::builder("simulated").durability(Durability::Always);
    let options = options.segment_bytes(1 << 20).clock(clock());
    let engine = recover::open::open(Box::new(disk.clone()), options.options).unwrap();
    // The first write preallocates space; the second one takes nearly all of it.
    engine.write_group(&[pending(&engine, 8, 10, Expected::Any)]);
    let preallocated = disk.used() - u64::from(engine.log.lock().end_position().offset);
    let len = (preallocated as usize)
        .checked_sub(HEADER_LEN + 10)
        .unwrap();
    engine.write_group(&[pending(&engine, 9, len, Expected::Any)]);
    assert_eq!(
        disk.used() - u64::from(engine.log.lock().end_position().offset),
        10
    );
    // Enough space for all but the second.
    let lens = [50, 700, 300, 20];
    disk.limit_growth(3 * HEADER_LEN as u64 + 50 + 300 + 20 - 10);
    let group: Vec<_> = (0..4)
        .map(|n| pending(&engine, n, lens[usize::from(n)], Expected::Any))
        .collect();
    let answers = engine.write_group(&group);
    let written: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(written, [true, false, true, true]);
    assert!(answers[1].as_ref().is_err_and(FileError::is_full));
    let is_stored = |number| engine.index.get(&key(number)).is_some();
    assert_eq!([0, 1, 2, 3].map(is_stored), [true, false, true, true]);
    assert_eq!(engine.stats().disk_bytes, disk.used());
}
