//! While the device hangs, the memory of abandoned operations is bounded.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    super::{
        Durability, FileError, FileStore, FileStoreBuilder,
        async_ops::{FileInner, write_grouped, write_single},
        log::{
            group_commit::{MAX_LINGER, linger_after, push_waiter},
            write::WriteReply,
        },
        recover,
    },
    disk::SimDisk,
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, StoreFuture, WriteOutcome, WriteRequest},
};

/// The limit for waiting writes, in bytes.
const LIMIT: usize = 64 << 10;
const LIFE: Duration = Duration::from_secs(60);

/// A counter of the session data that is in memory.
#[derive(Clone, Default)]
struct MemoryCounter(Arc<AtomicUsize>);

struct CountedData(Vec<u8>, MemoryCounter);

impl MemoryCounter {
    fn data(&self, len: usize) -> Bytes {
        self.0.fetch_add(len, Ordering::SeqCst);
        Bytes::from_owner(CountedData(vec![7; len], self.clone()))
    }

    fn bytes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl AsRef<[u8]> for CountedData {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for CountedData {
    fn drop(&mut self) {
        self.1.0.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

fn key(number: usize) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    StoreKey::from_bytes(bytes)
}

fn builder(durability: Durability) -> FileStoreBuilder {
    let builder = FileStore::builder("simulated").durability(durability);
    builder
        .clock(clock())
        .cache_bytes(0)
        .max_pending_bytes(LIMIT)
}

fn open(disk: &SimDisk, builder: FileStoreBuilder) -> Arc<FileInner> {
    let engine = recover::open::open(Box::new(disk.clone()), builder.options).unwrap();
    Arc::new(FileInner::new(engine))
}

/// The commit thread of [`Durability::Always`]; ends on drop.
struct CommitThread(Arc<FileInner>, Option<JoinHandle<()>>);

impl CommitThread {
    fn start(inner: &Arc<FileInner>) -> Self {
        let running = Arc::clone(inner);
        let run = move || running.group_commit.run_always(&running.engine);
        Self(Arc::clone(inner), Some(thread::spawn(run)))
    }
}

impl Drop for CommitThread {
    fn drop(&mut self) {
        self.0.group_commit.stop();
        let _ = self.1.take().map(JoinHandle::join);
    }
}

fn put(inner: &Arc<FileInner>, number: usize, data: Bytes) -> StoreFuture<WriteOutcome> {
    let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
    write_grouped(inner, request)
}

/// Returns `true` if the write waits, and `false` if it was rejected because of the backlog.
fn waits(write: &mut StoreFuture<WriteOutcome>) -> bool {
    match Pin::new(write).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        Poll::Ready(Ok(_)) => panic!("a write was executed while the device hangs"),
        Poll::Ready(Err(error)) => {
            let source = error.source().unwrap().downcast_ref();
            let Some(FileError::Backlog { pending, max, .. }) = source else {
                panic!("{error}");
            };
            assert!(*pending <= LIMIT && *max == LIMIT, "{error}");
            false
        }
    }
}

/// Starts 10,000 writes and drops their futures; returns the number of writes that still wait.
fn abandon_writes(inner: &Arc<FileInner>, memory: &MemoryCounter, len: usize) -> usize {
    let mut waiting = 0;
    for number in 0..10_000 {
        let mut write = put(inner, number, memory.data(len));
        waiting += usize::from(waits(&mut write));
        drop(write);
        assert!(memory.bytes() <= LIMIT, "{} bytes", memory.bytes());
    }
    waiting
}

#[tokio::test]
async fn abandoned_writes_take_no_more_memory_than_the_limit() {
    let (disk, memory) = (SimDisk::with_fault(None), MemoryCounter::default());
    let inner = open(&disk, builder(Durability::Always));
    let _thread = CommitThread::start(&inner);
    let device = disk.device();
    let hanging = device.write().unwrap();
    let kept = put(&inner, 1 << 20, memory.data(1000));
    let waiting = abandon_writes(&inner, &memory, 1000);
    assert!(waiting > 10, "{waiting} wait");
    drop(hanging);
    assert!(matches!(kept.await.unwrap(), WriteOutcome::Done(_)));
    let later = put(&inner, 1 << 21, memory.data(1000)).await.unwrap();
    assert!(matches!(later, WriteOutcome::Done(_)));
    // The abandoned writes are executed, too.
    assert_eq!(inner.engine.index.records(), waiting as u64 + 2);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn writes_of_no_data_are_bounded_too() {
    let disk = SimDisk::with_fault(None);
    let inner = open(&disk, builder(Durability::Always));
    let _thread = CommitThread::start(&inner);
    let device = disk.device();
    let _hanging = device.write().unwrap();
    let waiting = abandon_writes(&inner, &MemoryCounter::default(), 0);
    assert!((10..1000).contains(&waiting), "{waiting} wait");
}

#[test]
fn a_write_is_counted_with_all_memory_beside_its_data() {
    let inner = open(&SimDisk::with_fault(None), builder(Durability::Always));
    let request = WriteRequest::new(&key(1), Bytes::new(), LIFE, Expected::Any);
    let pending = inner.engine.prepare_write(&request).unwrap();
    // Lists have a capacity of up to twice their length.
    let listed = size_of_val(&pending) + size_of::<oneshot::Sender<()>>();
    let answer = size_of::<Result<WriteReply, FileError>>() + size_of::<[Waker; 2]>();
    let counters = 4 * size_of::<usize>();
    let memory = 2 * listed + answer + counters;
    assert!(memory <= pending.memory_len(), "{memory} bytes");
}

#[tokio::test]
async fn if_no_write_waits_a_record_may_be_longer_than_the_limit() {
    let inner = open(&SimDisk::with_fault(None), builder(Durability::Always));
    let _thread = CommitThread::start(&inner);
    for number in 0..3 {
        let data = MemoryCounter::default().data(LIMIT * 2);
        let written = put(&inner, number, data).await.unwrap();
        assert!(matches!(written, WriteOutcome::Done(_)));
    }
}

#[tokio::test]
async fn abandoned_writes_that_would_read_from_a_hanging_device_are_dropped() {
    let (disk, memory) = (SimDisk::with_fault(None), MemoryCounter::default());
    let inner = open(&disk, builder(Durability::Os));
    let request = || WriteRequest::new(&key(1), memory.data(1000), LIFE, Expected::Absent);
    let conflict = || write_single(&inner, request());
    assert!(matches!(conflict().await.unwrap(), WriteOutcome::Done(_)));
    disk.drop_page_cache();
    let device = disk.device();
    let hanging = device.write().unwrap();
    for _ in 0..10_000 {
        assert!(waits(&mut conflict()));
    }
    let bytes = memory.bytes();
    assert!(bytes <= LIMIT, "{bytes} bytes");
    drop(hanging);
    assert!(matches!(
        conflict().await.unwrap(),
        WriteOutcome::Conflict(_)
    ));
}

#[test]
fn a_group_does_not_linger_long_after_a_slow_sync() {
    let quick = Duration::from_millis(2);
    assert_eq!(linger_after(quick), quick / 2);
    assert_eq!(linger_after(LIFE), MAX_LINGER);
}

#[test]
fn dropped_waiters_make_space_for_others() {
    let mut list = Vec::new();
    let mut kept = Vec::new();
    for number in 0..100_000 {
        let (sender, receiver) = oneshot::channel();
        push_waiter(&mut list, sender);
        if number % 1000 == 0 {
            kept.push(receiver);
        }
    }
    assert!(list.capacity() <= 400, "capacity {}", list.capacity());
    for waiter in list {
        let _ = waiter.send(());
    }
    assert_eq!(kept.len(), 100);
    assert!(kept.iter_mut().all(|receiver| receiver.try_recv().is_ok()));
}
