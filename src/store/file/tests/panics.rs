//! Code of users that panics on a thread of the store.

use std::{
    error::Error,
    future::Future,
    io::ErrorKind,
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
        async_ops::{FileInner, write_grouped},
        recover,
    },
    disk::{Fault, SimDisk},
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, StoreError, StoreFuture, WriteOutcome, WriteRequest},
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

async fn assert_poisoned(write: StoreFuture<WriteOutcome>) {
    let error: StoreError = answer(write).await.unwrap_err();
    let source = error.source().unwrap().downcast_ref();
    assert!(
        matches!(source, Some(FileError::Poisoned { .. })),
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
    assert_poisoned(put(&inner, "data")).await;
    assert_poisoned(put(&inner, "data")).await;
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
async fn no_write_waits_for_a_commit_thread_that_panicked() {
    let inner = open(&SimDisk::with_fault(None));
    let mut panicking = put(&inner, "data");
    poll_panicking(&mut panicking);
    let commits = start_commits(&inner);
    commits.join().expect_err("the thread panicked");
    // Not even one that was in the group.
    drop(panicking);
    assert_poisoned(put(&inner, "data")).await;
    assert!(answer(inner.group_commit.wait_for_sync()).await.is_err());
    assert_eq!(inner.group_commit.backlog_bytes(), 0);
}

#[tokio::test]
async fn no_operation_waits_for_a_maintenance_thread_that_panicked() {
    let inner = open(&SimDisk::with_fault(None));
    let mut panicking = inner.maintenance.compact(&inner.engine);
    poll_panicking(&mut panicking);
    let queued = inner.maintenance.compact(&inner.engine);
    let maintenance = start_maintenance(&inner);
    maintenance.join().expect_err("the thread panicked");
    assert!(answer(queued).await.is_err());
    let later = inner.maintenance.compact(&inner.engine);
    assert!(answer(later).await.is_err());
    let room = inner.maintenance.wait_for_room(&inner.engine).unwrap();
    assert!(answer(room).await.is_err());
    assert_poisoned(put(&inner, "data")).await;
}
