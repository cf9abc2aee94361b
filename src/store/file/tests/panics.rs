//! Code of users that panics on a thread of the store.

use std::{
    error::Error,
    fmt::Debug,
    future::Future,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;

use super::{
    super::{
        Durability, FileError, FileEvent, FileStore,
        async_ops::{FileInner, read_record, write_grouped},
        recover,
    },
    disk::{Crash, Fault, SimDisk},
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, StoreError, StoreFuture, WriteOutcome, WriteRequest},
};

const LIFE: Duration = Duration::from_secs(60);
const KEY: StoreKey = StoreKey::from_bytes([7; StoreKey::LEN]);

/// Opens a store without threads, whose listener panics.
fn open(disk: &SimDisk) -> Arc<FileInner> {
    let builder = FileStore::builder("simulated").durability(Durability::Always);
    let builder = builder.segment_bytes(16 << 10).clock(clock());
    let builder = builder.listener(|event: &FileEvent<'_>| panic!("{event}"));
    let engine = recover::open::open(Box::new(disk.clone()), builder.options).unwrap();
    Arc::new(FileInner::new(engine))
}

fn start(inner: &Arc<FileInner>, run: impl FnOnce(&FileInner) + Send + 'static) -> JoinHandle<()> {
    let inner = Arc::clone(inner);
    thread::spawn(move || run(&inner))
}

fn start_commits(inner: &Arc<FileInner>) -> JoinHandle<()> {
    start(inner, |inner| inner.group_commit.run_always(&inner.engine))
}

fn start_maintenance(inner: &Arc<FileInner>) -> JoinHandle<()> {
    start(inner, |inner| inner.maintenance.run(&inner.engine))
}

fn put(inner: &Arc<FileInner>, data: impl Into<Bytes>) -> StoreFuture<WriteOutcome> {
    let request = WriteRequest::new(&KEY, data, LIFE, Expected::Any);
    write_grouped(inner, request)
}

/// Waits for an answer, which must not take long.
async fn answer<T>(future: impl Future<Output = T>) -> T {
    let answered = tokio::time::timeout(Duration::from_secs(30), future).await;
    answered.expect("the future hangs")
}

/// Appends a record, and does not sync it.
fn append(inner: &FileInner) {
    let request = WriteRequest::new(&KEY, "data", LIFE, Expected::Any);
    inner.engine.write(&request).unwrap();
}

/// Asserts that a read returns the record.
async fn assert_found(read: StoreFuture<ReadOutcome>) {
    let read = answer(read).await.unwrap();
    assert!(matches!(read, ReadOutcome::Found(_)), "{read:?}");
}

/// Returns the number of records that survive a power failure.
fn durable_records(disk: &SimDisk, seed: u64) -> u64 {
    let inner = open(&disk.crash(Crash::Power(seed), None));
    inner.engine.stats().records
}

/// Panics at the next operations of the disk, which are not executed.
fn panic_at_next(disk: &SimDisk, panics: usize) {
    let again = disk.clone();
    disk.set_hook(disk.operations(), move || {
        if panics > 1 {
            panic_at_next(&again, panics - 1);
        }
        panic!("a defect of the store")
    });
}

/// Asserts that the store refuses an operation, after an error of the disk or a panic.
async fn assert_stopped<T: Debug + Unpin>(operation: StoreFuture<T>) {
    let error: StoreError = answer(operation).await.unwrap_err();
    let source = error.source().unwrap().downcast_ref();
    assert!(
        matches!(
            source,
            Some(FileError::Poisoned { .. } | FileError::Panicked { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn after_a_listener_panicked_on_the_commit_thread_no_write_hangs() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    let commits = start_commits(&inner);
    answer(put(&inner, "data")).await.unwrap();
    // The next append succeeds, and its sync fails.
    let sync = disk.operations() + 1;
    disk.set_fault(sync, Fault::Permanent(ErrorKind::Other));
    assert_stopped(put(&inner, "data")).await;
    assert_stopped(put(&inner, "data")).await;
    inner.group_commit.stop();
    commits.join().expect("the panic is caught");
}

#[tokio::test]
async fn after_a_listener_panicked_on_the_maintenance_thread_it_compacts_again() {
    let inner = open(&SimDisk::with_fault(None));
    let (commits, maintenance) = (start_commits(&inner), start_maintenance(&inner));
    for _ in 0..2 {
        answer(put(&inner, "data")).await.unwrap();
        let compacted = inner.maintenance.compact(&inner.engine);
        answer(compacted).await.unwrap().unwrap();
    }
    assert!(inner.engine.stats().compacted_segments >= 2);
    inner.group_commit.stop();
    inner.engine.log.wakeup().stop();
    commits.join().unwrap();
    maintenance.join().unwrap();
}

/// Session data whose destructor panics.
struct PanickingData;

impl AsRef<[u8]> for PanickingData {
    fn as_ref(&self) -> &[u8] {
        b"data"
    }
}

impl Drop for PanickingData {
    fn drop(&mut self) {
        panic!("the data is dropped on {:?}", thread::current().id());
    }
}

#[tokio::test]
async fn data_that_panics_on_the_commit_thread_does_not_end_it() {
    let inner = open(&SimDisk::with_fault(None));
    drop(put(&inner, Bytes::from_owner(PanickingData)));
    let commits = start_commits(&inner);
    answer(put(&inner, "data")).await.unwrap();
    inner.group_commit.stop();
    commits.join().expect("the panic is caught");
}

/// A task whose wakeup panics.
struct PanickingTask;

impl Wake for PanickingTask {
    fn wake(self: Arc<Self>) {
        panic!("the task is woken on {:?}", thread::current().id());
    }
}

/// Polls a future for a task whose wakeup panics.
fn poll_panicking<F: Future + Unpin>(future: &mut F) {
    let waker = Waker::from(Arc::new(PanickingTask));
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Pending));
}

#[tokio::test]
async fn wakeups_that_panic_do_not_end_the_commit_thread() {
    let inner = open(&SimDisk::with_fault(None));
    // A second panic while the first one unwinds would abort the process.
    for _ in 0..2 {
        drop(put(&inner, Bytes::from_owner(PanickingData)));
    }
    let mut panicking = [(); 2].map(|()| put(&inner, "data"));
    panicking.iter_mut().for_each(poll_panicking);
    let mut waiting = [(); 2].map(|()| inner.group_commit.wait_for_sync());
    waiting.iter_mut().for_each(poll_panicking);
    let commits = start_commits(&inner);
    for panicking in panicking {
        answer(panicking).await.unwrap();
    }
    answer(put(&inner, "data")).await.unwrap();
    inner.group_commit.stop();
    commits.join().expect("the panics are caught");
}

#[tokio::test]
async fn wakeups_that_panic_do_not_end_the_maintenance_thread() {
    let inner = open(&SimDisk::with_fault(None));
    let mut compactions = [(); 2].map(|()| inner.maintenance.compact(&inner.engine));
    compactions.iter_mut().for_each(poll_panicking);
    let waiters = [(); 2].map(|()| inner.maintenance.wait_for_room(&inner.engine));
    let mut waiters = waiters.map(Option::unwrap);
    waiters.iter_mut().for_each(poll_panicking);
    let maintenance = start_maintenance(&inner);
    for compaction in compactions {
        answer(compaction).await.unwrap().unwrap();
    }
    let later = inner.maintenance.compact(&inner.engine);
    answer(later).await.unwrap().unwrap();
    inner.engine.log.wakeup().stop();
    maintenance.join().expect("the panics are caught");
}

#[tokio::test]
async fn no_write_waits_for_a_commit_thread_that_panicked() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    for _ in 0..2 {
        drop(put(&inner, Bytes::from_owner(PanickingData)));
    }
    let mut panicking = [(); 2].map(|()| put(&inner, "data"));
    panicking.iter_mut().for_each(poll_panicking);
    disk.set_hook(disk.operations(), || panic!("a defect of the store"));
    let commits = start_commits(&inner);
    commits.join().expect_err("the thread panicked");
    // Not even one that was in the group.
    for panicking in panicking {
        assert_stopped(panicking).await;
    }
    assert_stopped(put(&inner, "data")).await;
    assert!(answer(inner.group_commit.wait_for_sync()).await.is_err());
    assert_eq!(inner.group_commit.backlog_bytes(), 0);
}

#[tokio::test]
async fn no_operation_waits_for_a_maintenance_thread_that_panicked() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    let mut queued = [(); 2].map(|()| inner.maintenance.compact(&inner.engine));
    queued.iter_mut().for_each(poll_panicking);
    disk.set_hook(disk.operations(), || panic!("a defect of the store"));
    let maintenance = start_maintenance(&inner);
    maintenance.join().expect_err("the thread panicked");
    for queued in queued {
        assert!(answer(queued).await.is_err());
    }
    let later = inner.maintenance.compact(&inner.engine);
    assert!(answer(later).await.is_err());
    let room = inner.maintenance.wait_for_room(&inner.engine).unwrap();
    assert!(answer(room).await.is_err());
    assert_stopped(put(&inner, "data")).await;
}

#[tokio::test]
async fn after_a_panic_of_the_commit_thread_reads_see_what_was_appended() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    append(&inner);
    let mut waiting = [(); 2].map(|()| read_record(&inner, KEY, None));
    waiting.iter_mut().for_each(poll_panicking);
    panic_at_next(&disk, 1);
    let commits = start_commits(&inner);
    commits.join().expect_err("the thread panicked");
    for read in waiting {
        assert_found(read).await;
    }
    assert_found(read_record(&inner, KEY, None)).await;
    assert_stopped(put(&inner, "data")).await;
    (0..8).for_each(|seed| assert_eq!(durable_records(&disk, seed), 1));
}

#[test]
fn after_a_panic_of_the_interval_thread_what_was_appended_is_synced() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    append(&inner);
    inner.group_commit.mark_dirty();
    panic_at_next(&disk, 1);
    let commits = start(&inner, |inner| {
        let interval = Duration::from_nanos(1);
        inner.group_commit.run_interval(&inner.engine, interval);
    });
    commits.join().expect_err("the thread panicked");
    (0..8).for_each(|seed| assert_eq!(durable_records(&disk, seed), 1));
}

#[tokio::test]
async fn after_two_panics_of_the_commit_thread_a_flush_makes_reads_succeed() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    append(&inner);
    let mut waiting = read_record(&inner, KEY, None);
    poll_panicking(&mut waiting);
    panic_at_next(&disk, 2);
    let commits = start_commits(&inner);
    commits.join().expect_err("the thread panicked");
    // Neither acknowledges what is not synced.
    assert_stopped(waiting).await;
    assert_stopped(read_record(&inner, KEY, None)).await;
    inner.engine.log.sync().unwrap();
    assert_found(read_record(&inner, KEY, None)).await;
}

#[tokio::test]
async fn after_a_panic_and_a_failed_sync_reads_of_what_is_not_synced_fail() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    append(&inner);
    let mut waiting = read_record(&inner, KEY, None);
    poll_panicking(&mut waiting);
    panic_at_next(&disk, 1);
    disk.set_fault(disk.operations(), Fault::Once(ErrorKind::Other));
    let commits = start_commits(&inner);
    commits.join().expect_err("the thread panicked");
    assert_stopped(waiting).await;
    assert_stopped(read_record(&inner, KEY, None)).await;
}

#[test]
fn after_a_sync_that_panicked_the_next_one_syncs_all_segments() {
    for seed in 0..8 {
        let disk = SimDisk::with_fault(None);
        let inner = open(&disk);
        for number in 0..20 {
            let key = StoreKey::from_bytes([number; StoreKey::LEN]);
            let request = WriteRequest::new(&key, vec![number; 1000], LIFE, Expected::Any);
            inner.engine.write(&request).unwrap();
        }
        assert!(inner.engine.log.segment_count() > 3);
        panic_at_next(&disk, 1);
        let sync = AssertUnwindSafe(|| inner.engine.log.sync());
        assert!(catch_unwind(sync).is_err(), "the sync panics");
        inner.engine.log.sync().unwrap();
        assert_eq!(durable_records(&disk, seed), 20);
    }
}

#[test]
fn after_a_panic_of_a_thread_what_was_acknowledged_is_still_synced() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    append(&inner);
    inner.engine.log.poison_after_panic();
    let request = WriteRequest::new(&KEY, "data", LIFE, Expected::Any);
    let refused = inner.engine.write(&request).map(drop).unwrap_err();
    assert!(matches!(refused, FileError::Panicked { .. }), "{refused}");
    // A close reports that the store has stopped.
    inner.engine.log.finish().unwrap_err();
    inner.engine.log.sync().unwrap();
    let inner = open(&disk.crash(Crash::Power(1), None));
    assert_eq!(inner.engine.stats().records, 1);
}

#[test]
fn after_a_panic_a_sync_that_failed_is_not_repeated() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk);
    append(&inner);
    inner.engine.log.poison_after_panic();
    disk.set_fault(disk.operations(), Fault::Once(ErrorKind::Other));
    for _ in 0..2 {
        // The system may have dropped the data after the first failure.
        let failed = inner.engine.log.sync().unwrap_err();
        assert!(matches!(failed, FileError::Poisoned { .. }), "{failed}");
    }
}
