//! The time between two checks of the directory, in simulated time.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        Durability, FileError, FileStore, FileStoreBuilder,
        async_ops::FileInner,
        disk::EntryStamp,
        log::known_entries::{KnownEntries, NextCheck},
        monotonic_time::MonotonicTime,
        recover,
    },
    disk::SimDisk,
    workload,
};
use crate::{
    id::StoreKey,
    store::{Expected, WriteRequest},
};

const RUN: Duration = Duration::from_secs(60);

/// A store without a commit thread, whose maintenance runs in simulated time.
struct SimulatedStore {
    inner: Arc<FileInner>,
    disk: SimDisk,
    time: MonotonicTime,
}

impl SimulatedStore {
    fn open(change: impl FnOnce(FileStoreBuilder) -> FileStoreBuilder) -> Self {
        let (disk, time) = (
            SimDisk::with_fault(None),
            MonotonicTime::from(Instant::now()),
        );
        let builder = FileStore::builder("simulated").durability(Durability::Os);
        let builder = builder.segment_bytes(16 << 10).clock(workload::clock());
        let mut options = change(builder).options;
        options.monotonic_time = time.clone();
        let engine = recover::open::open(Box::new(disk.clone()), options).unwrap();
        let inner = Arc::new(FileInner::new(engine));
        Self { inner, disk, time }
    }

    /// Writes sessions, each with a life of its own, as far as there is room.
    fn write(&self, keys: std::ops::Range<u8>, len: usize) {
        for number in keys {
            let key = StoreKey::from_bytes([number; StoreKey::LEN]);
            let life = Duration::from_secs(3600);
            let request = WriteRequest::new(&key, vec![number; len], life, Expected::Any);
            let _ = self.inner.engine.write(&request);
        }
    }

    /// Runs the maintenance thread for a minute of simulated time, in which each operation of the disk takes
    /// `operation`. Then checks that no second was without a check.
    fn assert_checks(&self, operation: Duration, prepare: impl FnOnce(&FileInner)) {
        let begin = self.time.now();
        self.disk.record_checks(&self.time, operation);
        prepare(&self.inner);
        let running = Arc::clone(&self.inner);
        let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
        while self.time.now() - begin < RUN {
            thread::yield_now();
        }
        self.inner.engine.log.wakeup().stop();
        maintenance.join().unwrap();
        let checks = self.disk.checks();
        let longest = checks.windows(2).map(|pair| pair[1] - pair[0]).max();
        let last = *checks.last().unwrap();
        assert!(
            last - begin > RUN - Duration::from_secs(2),
            "no check at the end"
        );
        assert!(
            longest <= Some(Duration::from_secs(1)),
            "{longest:?} without a check"
        );
    }
}

#[test]
fn an_idle_store_checks_its_paths_once_a_second() {
    let store = SimulatedStore::open(|builder| builder);
    store.write(0..10, 100);
    store.assert_checks(Duration::ZERO, |_| {});
}

#[test]
fn the_pauses_of_a_compaction_do_not_delay_the_checks() {
    // Each chunk is followed by a pause of 16 seconds or more.
    let store = SimulatedStore::open(|builder| builder.compaction_rate(64));
    (0..4).for_each(|_| store.write(0..10, 500));
    store.assert_checks(Duration::ZERO, |_| {});
    assert!(store.inner.engine.stats().compacted_segments > 0);
}

#[test]
fn a_compaction_of_the_whole_log_on_a_slow_disk_does_not_delay_the_checks() {
    let store = SimulatedStore::open(|builder| builder);
    store.write(0..250, 1000);
    let mut compacted = None;
    store.assert_checks(Duration::from_millis(20), |inner| {
        compacted = Some(inner.maintenance.compact(&inner.engine));
    });
    assert!(store.inner.engine.stats().compacted_segments > 15);
    assert!(compacted.unwrap().try_recv().is_ok());
}

#[test]
fn hints_of_many_segments_on_a_slow_disk_do_not_delay_the_checks() {
    let store = SimulatedStore::open(|builder| builder);
    store.write(0..250, 1000);
    store.assert_checks(Duration::from_millis(100), |_| {});
    let segments = store.inner.engine.log.segments_without_hint();
    assert_eq!(segments.len(), 0);
}

#[test]
fn a_disk_that_fails_does_not_delay_the_checks() {
    let store = SimulatedStore::open(|builder| builder);
    (0..4).for_each(|_| store.write(0..10, 500));
    store.disk.break_down();
    store.assert_checks(Duration::ZERO, |_| {});
    assert!(store.inner.engine.log.check_poison().is_err());
}

/// Returns the time for which all files are checked after each sync, with an unchanged stamp.
fn time_until_trusted(nanoseconds: i64) -> Duration {
    let (mut known, begin) = (KnownEntries::default(), Instant::now());
    let mut checks = (0..10_000).map(|millis| {
        let time = Duration::from_millis(millis);
        let stamp = EntryStamp {
            seconds: 1,
            nanoseconds,
        };
        (time, known.next_check(Ok(stamp), begin + time))
    });
    let trusted = checks.find(|(_, next)| *next != NextCheck::Files);
    trusted.unwrap().0
}

#[test]
fn coarse_times_of_a_directory_are_trusted_later() {
    let fine = time_until_trusted(4_000_000);
    assert!(fine >= Duration::from_millis(20) && fine < Duration::from_millis(30));
    assert!(time_until_trusted(0) > Duration::from_secs(2));
}

#[test]
fn a_stamp_that_cannot_be_read_is_never_trusted() {
    let (mut known, begin) = (KnownEntries::default(), Instant::now());
    for seconds in 0..10 {
        let stamp = Err(io::ErrorKind::Unsupported.into());
        let next = known.next_check(stamp, begin + Duration::from_secs(seconds));
        assert_eq!(next, NextCheck::Files);
    }
}

#[test]
fn a_transient_error_of_a_look_up_hides_no_change() {
    for lookup_errors in 0..10 {
        let store = SimulatedStore::open(|builder| builder.durability(Durability::Always));
        store.disk.move_away(lookup_errors);
        let synced = store.inner.engine.log.sync();
        assert!(matches!(synced, Err(FileError::PathChanged { .. })));
    }
}

#[test]
fn a_transient_error_of_a_look_up_delays_the_sync() {
    let store = SimulatedStore::open(|builder| builder.durability(Durability::Always));
    store.write(0..1, 100);
    store.disk.fail_lookups(10);
    let began = store.time.now();
    store.inner.engine.log.sync().unwrap();
    assert_eq!(store.time.now() - began, Duration::from_millis(1023));
}

#[test]
fn if_the_files_cannot_be_looked_up_nothing_is_acknowledged() {
    let store = SimulatedStore::open(|builder| builder.durability(Durability::Always));
    store.write(0..1, 100);
    let log = &store.inner.engine.log;
    let end = log.lock().last_position();
    store.disk.fail_lookups(11);
    let stopped = log.sync().unwrap_err();
    let reason = "(cannot look up its files after a sync: Cannot allocate memory (os error 12))";
    assert!(stopped.to_string().contains(reason), "{stopped}");
    assert!(!log.is_durable(end));
    // Also if they can be looked up again.
    let refused = log.sync().unwrap_err();
    assert!(matches!(refused, FileError::Poisoned { .. }), "{refused}");
}
