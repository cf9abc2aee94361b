//! While the device hangs and clients come and go, what they leave behind is bounded.

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
        commit::{LONGEST_PATIENCE, patience_after},
        core::{Core, write, write_together},
        recover,
        waiting::enlist,
        write::Attempt,
    },
    disk::SimDisk,
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, StoreFuture, WriteOutcome},
};

/// The most that may wait, in bytes.
const LIMIT: usize = 64 << 10;
const LIFE: Duration = Duration::from_secs(60);

/// Session data that is counted as long as it is in memory.
#[derive(Clone, Default)]
struct Memory(Arc<AtomicUsize>);

struct Counted(Vec<u8>, Memory);

impl Memory {
    fn data(&self, len: usize) -> Bytes {
        self.0.fetch_add(len, Ordering::SeqCst);
        Bytes::from_owner(Counted(vec![7; len], self.clone()))
    }

    fn taken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.0.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

fn key(number: usize) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    StoreKey::from_bytes(bytes)
}

fn options(durability: Durability) -> FileStoreBuilder {
    let options = FileStore::builder("simulated").durability(durability);
    options
        .clock(clock())
        .cache_bytes(0)
        .max_pending_bytes(LIMIT)
}

fn core(disk: &SimDisk, options: FileStoreBuilder) -> Arc<Core> {
    let engine = recover::open(Box::new(disk.clone()), options).unwrap();
    Arc::new(Core::new(engine))
}

/// Has the thread for [`Durability::Always`] run until this is dropped.
struct Committing(Arc<Core>, Option<JoinHandle<()>>);

impl Committing {
    fn on(core: &Arc<Core>) -> Self {
        let running = Arc::clone(core);
        let run = move || running.commits.run_always(&running.engine);
        Self(Arc::clone(core), Some(thread::spawn(run)))
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        self.0.commits.stop();
        let _ = self.1.take().map(JoinHandle::join);
    }
}

fn put(core: &Arc<Core>, number: usize, data: Bytes) -> StoreFuture<WriteOutcome> {
    write_together(core, key(number), data, LIFE, Expected::Any)
}

/// Whether the write waits; it may be refused for one reason only.
fn waits(write: &mut StoreFuture<WriteOutcome>) -> bool {
    match Pin::new(write).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        Poll::Ready(Ok(_)) => panic!("nothing is written while the device hangs"),
        Poll::Ready(Err(error)) => {
            let cause = error.source().unwrap().downcast_ref();
            let Some(FileError::Backlog { waiting, max, .. }) = cause else {
                panic!("{error}");
            };
            assert!(*waiting <= LIMIT && *max == LIMIT, "{error}");
            false
        }
    }
}

/// How many of 10,000 writes wait whose clients go at once, while the device hangs.
fn left_behind(core: &Arc<Core>, memory: &Memory, len: usize) -> usize {
    let mut left = 0;
    for number in 0..10_000 {
        let mut write = put(core, number, memory.data(len));
        left += usize::from(waits(&mut write));
        drop(write);
        assert!(memory.taken() <= LIMIT, "{} bytes", memory.taken());
    }
    left
}

#[tokio::test]
async fn writes_whose_clients_have_gone_take_no_more_memory_than_may_wait() {
    let (disk, memory) = (SimDisk::with(None), Memory::default());
    let core = core(&disk, options(Durability::Always));
    let _committing = Committing::on(&core);
    let device = disk.device();
    let hanging = device.write().unwrap();
    let stayed = put(&core, 1 << 20, memory.data(1000));
    let left = left_behind(&core, &memory, 1000);
    assert!(left > 10, "{left} wait");
    drop(hanging);
    assert!(matches!(stayed.await.unwrap(), WriteOutcome::Done(_)));
    let later = put(&core, 1 << 21, memory.data(1000)).await.unwrap();
    assert!(matches!(later, WriteOutcome::Done(_)));
    // Those who went have theirs written as well.
    assert_eq!(core.engine.index.records(), left as u64 + 2);
    assert_eq!(memory.taken(), 0);
}

#[test]
fn writes_of_no_data_are_bounded_too() {
    let disk = SimDisk::with(None);
    let core = core(&disk, options(Durability::Always));
    let _committing = Committing::on(&core);
    let device = disk.device();
    let _hanging = device.write().unwrap();
    let left = left_behind(&core, &Memory::default(), 0);
    assert!((10..1000).contains(&left), "{left} wait");
}

#[test]
fn a_write_is_counted_with_all_that_it_takes_beside_its_data() {
    let core = core(&SimDisk::with(None), options(Durability::Always));
    let draft = core
        .engine
        .draft(&key(1), &Bytes::new(), LIFE, Expected::Any);
    let draft = draft.unwrap();
    // Lists have room for twice what is in them.
    let listed = size_of_val(&draft) + size_of::<oneshot::Sender<()>>();
    let answer = size_of::<Result<Attempt, FileError>>() + size_of::<[Waker; 2]>();
    let counters = 4 * size_of::<usize>();
    let taken = 2 * listed + answer + counters;
    assert!(taken <= draft.memory(), "{taken} bytes");
}

#[tokio::test]
async fn where_nothing_waits_a_record_may_be_longer_than_what_may_wait() {
    let core = core(&SimDisk::with(None), options(Durability::Always));
    let _committing = Committing::on(&core);
    for number in 0..3 {
        let data = Memory::default().data(LIMIT * 2);
        let written = put(&core, number, data).await.unwrap();
        assert!(matches!(written, WriteOutcome::Done(_)));
    }
}

#[tokio::test]
async fn writes_that_would_read_from_a_hanging_device_are_let_go_with_their_clients() {
    let (disk, memory) = (SimDisk::with(None), Memory::default());
    let core = core(&disk, options(Durability::Os));
    let conflict = || write(&core, key(1), memory.data(1000), LIFE, Expected::Absent);
    assert!(matches!(conflict().await.unwrap(), WriteOutcome::Done(_)));
    disk.cool();
    let device = disk.device();
    let hanging = device.write().unwrap();
    for _ in 0..10_000 {
        assert!(waits(&mut conflict()));
    }
    let taken = memory.taken();
    assert!(taken <= LIMIT, "{taken} bytes");
    drop(hanging);
    assert!(matches!(
        conflict().await.unwrap(),
        WriteOutcome::Conflict(_)
    ));
}

#[test]
fn a_disk_that_has_hung_is_not_waited_for_once_more() {
    let quick = Duration::from_millis(2);
    assert_eq!(patience_after(quick), quick / 2);
    assert_eq!(patience_after(LIFE), LONGEST_PATIENCE);
}

#[test]
fn those_who_have_stopped_waiting_make_room_for_others() {
    let mut list = Vec::new();
    let mut staying = Vec::new();
    for number in 0..100_000 {
        let (sender, receiver) = oneshot::channel();
        enlist(&mut list, sender);
        if number % 1000 == 0 {
            staying.push(receiver);
        }
    }
    assert!(list.capacity() <= 400, "room for {}", list.capacity());
    for waiter in list {
        let _ = waiter.send(());
    }
    assert_eq!(staying.len(), 100);
    assert!(staying.iter_mut().all(|one| one.try_recv().is_ok()));
}
