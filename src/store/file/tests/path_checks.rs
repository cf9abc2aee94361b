//! The time between two checks of the directory, in simulated time.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        Durability, FileStore, FileStoreBuilder, async_ops::FileInner,
        monotonic_time::MonotonicTime, recover,
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
