//! A clock that is set back while the store is not open.

use std::time::Duration;

use super::{
    super::{
        compact::maintenance::sweep,
        log::engine::{EntryState, FileEngine},
    },
    disk::SimDisk,
    workload,
};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{Expected, WriteRequest},
};

const KEY: StoreKey = StoreKey::from_bytes([1; StoreKey::LEN]);

fn write(engine: &FileEngine, seconds: u64) {
    let life = Duration::from_secs(seconds);
    let request = WriteRequest::new(&KEY, "data", life, Expected::Any);
    engine.write(&request).map(|_| ()).unwrap();
}

fn is_live(engine: &FileEngine) -> bool {
    matches!(
        engine.entry_state(&KEY, engine.log.now()),
        EntryState::Live(_)
    )
}

#[test]
fn an_expired_session_does_not_return_if_the_clock_is_set_back() {
    for close in [true, false] {
        let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
        let set_back = Clock::manual(clock.now());
        let engine = workload::open(&disk, &clock).unwrap();
        write(&engine, 100);
        clock.advance(Duration::from_secs(200));
        if close {
            engine.log.finish().unwrap();
        } else {
            // A killed process: the sweep has recorded the time when it collected the session.
            sweep(&engine, 1);
        }
        drop(engine);
        let engine = workload::open(&disk, &set_back).unwrap();
        assert!(!is_live(&engine), "closed: {close}");
        // New sessions live for their time, although the clock is behind.
        write(&engine, 100);
        engine.log.finish().unwrap();
        drop(engine);
        let engine = workload::open(&disk, &set_back).unwrap();
        assert!(is_live(&engine), "closed: {close}");
    }
}

#[test]
fn the_newest_time_survives_compaction() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    clock.advance(Duration::from_secs(500));
    super::super::compact::segment::Compactor(&engine)
        .compact_all(|_| true)
        .unwrap();
    drop(engine);
    let set_back = Clock::manual(Timestamp::from_millis(0));
    let engine = workload::open(&disk, &set_back).unwrap();
    assert_eq!(engine.log.now(), clock.now());
}
