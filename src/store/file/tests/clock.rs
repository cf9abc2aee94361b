//! A clock that is set back while the store is not open.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    super::{
        Durability, FileEvent, FileStore,
        compact::maintenance::sweep,
        log::engine::{EntryState, FileEngine},
        recover,
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
fn an_expiry_shortly_after_the_newest_time_in_the_log_is_recorded_later() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let set_back = Clock::manual(clock.now());
    let engine = workload::open(&disk, &clock).unwrap();
    write(&engine, 2);
    clock.advance(Duration::from_secs(3));
    sweep(&engine, 1);
    clock.advance(Duration::from_secs(8));
    // It collects nothing, and records the time of the former collection.
    sweep(&engine, 1);
    // A killed process.
    drop(engine);
    let engine = workload::open(&disk, &set_back).unwrap();
    assert!(!is_live(&engine));
}

#[test]
fn a_time_that_could_not_be_recorded_is_recorded_later() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let set_back = Clock::manual(clock.now());
    // Without preallocation, each append needs space.
    let builder = FileStore::builder("simulated").durability(Durability::Os);
    let options = builder.clock(clock.clone()).options;
    let engine = recover::open::open(Box::new(disk.clone()), options).unwrap();
    write(&engine, 100);
    clock.advance(Duration::from_secs(200));
    disk.limit_growth(0);
    sweep(&engine, 1);
    disk.limit_growth(1 << 20);
    sweep(&engine, 1);
    // A killed process.
    drop(engine);
    let engine = workload::open(&disk, &set_back).unwrap();
    assert!(!is_live(&engine));
}

#[test]
fn the_time_of_an_expiry_that_leaves_no_room_for_its_garbage_is_recorded() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let set_back = Clock::manual(clock.now());
    let engine = workload::open(&disk, &clock).unwrap();
    let life = Duration::from_secs(10);
    let request = WriteRequest::new(&KEY, vec![1; 4000], life, Expected::Any);
    engine.write(&request).map(drop).unwrap();
    // The touches of another session are garbage, which leaves less room than the session takes.
    let other = StoreKey::from_bytes([2; StoreKey::LEN]);
    let life = Duration::from_secs(1000);
    let request = WriteRequest::new(&other, "data", life, Expected::Any);
    engine.write(&request).map(drop).unwrap();
    while engine.log.lock().usage().room() > 2000 {
        engine.touch(&other, life).unwrap();
    }
    clock.advance(Duration::from_secs(20));
    assert_eq!(engine.collect_expired(1), (0, false));
    drop(engine);
    let engine = workload::open(&disk, &set_back).unwrap();
    assert!(!is_live(&engine));
}

#[test]
fn the_newest_time_survives_compaction() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    clock.advance(Duration::from_secs(500));
    super::super::compact::segment::Compactor(&engine)
        .compact_all(|_| true, || ())
        .unwrap();
    drop(engine);
    let set_back = Clock::manual(Timestamp::from_millis(0));
    let engine = workload::open(&disk, &set_back).unwrap();
    assert!(engine.log.now() >= clock.now());
}

/// Returns a disk whose log was written `ahead` of `clock`.
fn written_ahead(clock: &Clock, ahead: Duration) -> SimDisk {
    let disk = SimDisk::with_fault(None);
    let fast = Clock::manual(clock.now());
    fast.advance(ahead);
    let engine = workload::open(&disk, &fast).unwrap();
    engine.log.finish().unwrap();
    disk
}

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[test]
fn after_a_start_with_a_clock_far_ahead_sessions_expire_after_their_lifetime() {
    let clock = workload::clock();
    let disk = written_ahead(&clock, TEN_YEARS);
    let engine = workload::open(&disk, &clock).unwrap();
    let request = WriteRequest::new(&KEY, "data", Duration::from_millis(20), Expected::Any);
    engine.write(&request).map(|_| ()).unwrap();
    let began = Instant::now();
    while is_live(&engine) {
        assert!(began.elapsed() < Duration::from_secs(60), "never expires");
    }
    // A clock that is set right during the run counts if it is later.
    clock.advance(2 * TEN_YEARS);
    assert_eq!(engine.log.now(), clock.now());
}

#[test]
fn a_clock_that_is_behind_has_the_remaining_time_and_the_keys_of_live_sessions() {
    let clock = workload::clock();
    let disk = written_ahead(&clock, TEN_YEARS);
    let engine = workload::open(&disk, &clock).unwrap();
    write(&engine, 1000);
    let remaining = engine.time_to_live(&KEY).unwrap();
    assert!(remaining <= Duration::from_secs(1000), "{remaining:?}");
    let live = || {
        let [first, ..] = *KEY.as_bytes();
        engine.live_keys(first.into())
    };
    assert_eq!(live(), [KEY]);
    let short = WriteRequest::new(&KEY, "data", Duration::ZERO, Expected::Any);
    engine.write(&short).map(|_| ()).unwrap();
    assert!(!is_live(&engine));
    assert_eq!(engine.time_to_live(&KEY), None);
    assert_eq!(live(), []);
}

#[test]
fn a_clock_that_is_more_than_a_minute_behind_is_reported() {
    for (seconds, is_reported) in [(0, false), (60, false), (61, true)] {
        let clock = workload::clock();
        let disk = written_ahead(&clock, Duration::from_secs(seconds));
        let times = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&times);
        let builder = FileStore::builder("simulated").clock(clock.clone());
        let builder = builder.listener(move |event: &FileEvent<'_>| {
            if let FileEvent::ClockBehind { newest, clock } = event {
                log.lock().unwrap().push(newest.duration_since(*clock));
            }
        });
        recover::open::open(Box::new(disk), builder.options).unwrap();
        let expected = is_reported.then_some(Duration::from_secs(seconds));
        assert_eq!(*times.lock().unwrap(), Vec::from_iter(expected));
    }
}
