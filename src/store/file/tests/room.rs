//! A mutation for which there is no room waits for a compaction.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    super::{
        Durability, FileError, FileEvent, FileStore,
        async_ops::{Attempt, AttemptMode, FileInner, read_record, write_single},
        compact::segment::Compactor,
        log::engine::FileEngine,
        recover,
    },
    disk::{SeededRng, SimDisk},
    workload::clock,
};
use crate::{
    clock::Clock,
    id::StoreKey,
    store::{Expected, ReadOutcome, StoreError, StoreFuture, WriteOutcome, WriteRequest},
};

const LIFE: Duration = Duration::from_secs(60);
const KEY: StoreKey = StoreKey::from_bytes([7; StoreKey::LEN]);

fn write(inner: &Arc<FileInner>) -> StoreFuture<WriteOutcome> {
    write_single(
        inner,
        WriteRequest::new(&KEY, vec![7; 1000], LIFE, Expected::Any),
    )
}

/// Returns a store without threads, which touches have filled to its limit.
async fn full_store() -> FileInner {
    full_store_on(&SimDisk::with_fault(None)).await
}

/// Opens a store without threads and without a cache.
fn open(disk: &SimDisk) -> FileInner {
    open_with_cache(disk, 0)
}

fn open_with_cache(disk: &SimDisk, cache_bytes: usize) -> FileInner {
    let options = FileStore::builder("simulated").durability(Durability::Os);
    let options = options
        .segment_bytes(16 << 10)
        .cache_bytes(cache_bytes)
        .clock(clock());
    let engine = recover::open::open(Box::new(disk.clone()), options.options).unwrap();
    FileInner::new(engine)
}

async fn full_store_on(disk: &SimDisk) -> FileInner {
    fill(open(disk)).await
}

async fn fill(inner: FileInner) -> FileInner {
    let inner = Arc::new(inner);
    write(&inner).await.unwrap();
    let refused = loop {
        if let Err(error) = inner.engine.touch(&KEY, LIFE) {
            break error;
        }
    };
    let FileError::DiskLimit { bytes, limit, .. } = refused else {
        panic!("{refused}");
    };
    assert!((limit / 3..=limit).contains(&bytes), "{refused}");
    Arc::into_inner(inner).unwrap()
}

#[tokio::test]
async fn a_write_without_room_waits_until_a_compaction_has_made_room() {
    let inner = Arc::new(full_store().await);
    let mut waiting = write(&inner);
    let first = Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop()));
    assert!(first.is_pending());
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    assert!(matches!(waiting.await.unwrap(), WriteOutcome::Done(_)));
    // The write may need more than one compaction.
    assert!(inner.engine.stats().waits > 0);
    assert!(inner.engine.stats().compacted_segments > 0);
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
}

#[tokio::test]
async fn if_compaction_fails_a_write_without_room_fails_and_a_read_succeeds() {
    let inner = Arc::new(full_store().await);
    inner
        .engine
        .compaction_failed
        .store(true, Ordering::Relaxed);
    let refused = write(&inner).await.unwrap_err();
    let source = refused.source().unwrap().downcast_ref();
    assert!(
        matches!(source, Some(FileError::DiskLimit { .. })),
        "{refused}"
    );
    let read = inner
        .read(&KEY, Some(LIFE), AttemptMode::NonBlocking)
        .unwrap();
    assert!(matches!(read, Attempt::Done((ReadOutcome::Found(_), _))));
}

/// Fills a store, and calls `call` on it while the device hangs. Returns the result.
fn call_while_hanging<T: Send + Unpin + 'static>(
    call: impl Fn(&Arc<FileInner>) -> StoreFuture<T>,
) -> Result<T, StoreError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let disk = SimDisk::with_fault(None);
    let mut inner = runtime.block_on(fill(open_with_cache(&disk, 1 << 20)));
    inner.max_wait = Duration::from_millis(50);
    let inner = Arc::new(inner);
    let device = disk.device();
    let hanging = device.write().unwrap();
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    let result = runtime.block_on(async {
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, call(&inner)).await
    });
    drop(hanging);
    while runtime.block_on(write(&inner)).is_err() {}
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
    result.expect("the call has a deadline")
}

#[test]
fn while_the_device_hangs_a_write_without_room_fails_in_time() {
    let refused = call_while_hanging(write).unwrap_err();
    let source = refused.source().unwrap().downcast_ref();
    assert!(
        matches!(source, Some(FileError::DiskLimit { .. })),
        "{refused}"
    );
}

#[test]
fn while_the_device_hangs_a_read_without_room_for_its_touch_succeeds_in_time() {
    let read = call_while_hanging(|inner| read_record(inner, KEY, Some(LIFE)));
    assert!(matches!(read, Ok(ReadOutcome::Found(_))));
}

/// A mutation takes the room of each compaction at once, and expired data waits for room.
#[tokio::test]
async fn a_load_that_needs_each_compaction_delays_no_other_work() {
    const REFILLS: u64 = 5000;
    let (disk, clock) = (SimDisk::with_fault(None), clock());
    let filled = Arc::new(OnceLock::<Weak<FileInner>>::new());
    let (shared, refills) = (Arc::clone(&filled), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&refills);
    let options = FileStore::builder("simulated").durability(Durability::Os);
    let options = options.segment_bytes(16 << 10).cache_bytes(0);
    let options = options.clock(clock.clone());
    let options = options.listener(move |event: &FileEvent<'_>| {
        let inner = shared.get().and_then(Weak::upgrade);
        if let (FileEvent::Compacted { .. }, Some(inner)) = (event, inner)
            && count.fetch_add(1, Ordering::Relaxed) < REFILLS
        {
            while inner.engine.touch(&KEY, LIFE).is_ok() {}
        }
    });
    let engine = recover::open::open(Box::new(disk.clone()), options.options).unwrap();
    let expired = StoreKey::from_bytes([1; StoreKey::LEN]);
    let request = WriteRequest::new(&expired, vec![1; 4000], LIFE / 4, Expected::Any);
    engine.write(&request).map(drop).unwrap();
    let inner = Arc::new(fill(FileInner::new(engine)).await);
    clock.advance(LIFE / 2);
    filled.set(Arc::downgrade(&inner)).unwrap();
    let compacted = inner.maintenance.compact(&inner.engine);
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    compacted.await.unwrap().unwrap();
    let refills = refills.load(Ordering::Relaxed);
    assert!((1..REFILLS).contains(&refills), "{refills}");
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
}

#[tokio::test]
async fn a_compaction_of_the_whole_log_wakes_mutations_after_each_segment() {
    let filled = Arc::new(OnceLock::<Weak<FileInner>>::new());
    let (woken, shared) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&filled));
    let (results, waiting) = (Arc::clone(&woken), Mutex::new(None));
    let options = FileStore::builder("simulated").durability(Durability::Os);
    let options = options.segment_bytes(16 << 10).clock(clock());
    let options = options.listener(move |event: &FileEvent<'_>| {
        let inner = shared.get().and_then(Weak::upgrade);
        if let (FileEvent::Compacted { .. }, Some(inner)) = (event, inner) {
            let mut waiting = waiting.lock().unwrap();
            let next = inner.maintenance.wait_for_room(&inner.engine);
            let last: Option<oneshot::Receiver<()>> = std::mem::replace(&mut *waiting, next);
            let is_woken = last.map(|mut last| last.try_recv().is_ok());
            results.lock().unwrap().extend(is_woken);
        }
    });
    let disk = SimDisk::with_fault(None);
    let engine = recover::open::open(Box::new(disk), options.options).unwrap();
    for number in 0..20 {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        let request = WriteRequest::new(&key, vec![number; 4000], LIFE, Expected::Any);
        engine.write(&request).map(drop).unwrap();
    }
    let inner = Arc::new(FileInner::new(engine));
    filled.set(Arc::downgrade(&inner)).unwrap();
    let compacted = inner.maintenance.compact(&inner.engine);
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    compacted.await.unwrap().unwrap();
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
    let woken = woken.lock().unwrap();
    assert!(woken.len() >= 3, "{woken:?}");
    assert!(woken.iter().all(|woken| *woken), "{woken:?}");
}

#[test]
fn files_above_the_limit_stop_the_store_with_a_typed_error() {
    let inner = open(&SimDisk::with_fault(None));
    let engine = &inner.engine;
    for number in 0..20 {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        let request = WriteRequest::new(&key, vec![7; 1000], LIFE, Expected::Any);
        engine.write(&request).map(drop).unwrap();
    }
    let mut writer = engine.log.lock();
    engine.finish_mutation(&writer).unwrap();
    // Wrong accounting: the records count as garbage.
    let live = writer.usage().live;
    writer.adjust_live(0, live);
    let exceeded = engine.finish_mutation(&writer).unwrap_err();
    let FileError::LimitExceeded { bytes, limit, .. } = exceeded else {
        panic!("{exceeded}");
    };
    assert!(bytes > limit, "{exceeded}");
    writer.adjust_live(live, 0);
    drop(writer);
    let refused = engine.destroy(&KEY).map(drop).unwrap_err();
    assert!(
        matches!(refused, FileError::LimitExceeded { .. }),
        "{refused}"
    );
    let read = inner
        .read(&KEY, Some(LIFE), AttemptMode::NonBlocking)
        .unwrap();
    assert!(matches!(read, Attempt::Done((ReadOutcome::Found(_), _))));
}

/// A store that preallocates space.
struct PreallocatingStore {
    engine: FileEngine,
    disk: SimDisk,
    clock: Clock,
}

impl PreallocatingStore {
    fn open(segment_bytes: u64) -> Self {
        let (disk, clock) = (SimDisk::with_fault(None), clock());
        let builder = FileStore::builder("simulated").durability(Durability::Always);
        let builder = builder.segment_bytes(segment_bytes).cache_bytes(0);
        let builder = builder.tombstone_ttl(Duration::from_millis(1));
        let options = builder.clock(clock.clone()).options;
        let engine = recover::open::open(Box::new(disk.clone()), options).unwrap();
        Self {
            engine,
            disk,
            clock,
        }
    }

    /// Executes a mutation, and compactions while there is no room for it. Checks the size of the files.
    fn mutate<T>(&self, mutation: impl Fn(&FileEngine) -> Result<T, FileError>) {
        while let Err(error) = mutation(&self.engine) {
            assert!(matches!(error, FileError::DiskLimit { .. }), "{error}");
            let compactor = Compactor(&self.engine);
            compactor.compact_oldest(|_| true).unwrap();
        }
        self.clock.advance(Duration::from_millis(2));
        let stats = self.engine.stats();
        assert_eq!(stats.disk_bytes, self.disk.used());
        assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
    }

    fn write(&self, number: u8, len: usize) {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        let request = WriteRequest::new(&key, vec![number; len], LIFE, Expected::Any);
        self.mutate(|engine| engine.write(&request));
    }

    fn destroy(&self, number: u8) {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        self.mutate(|engine| engine.destroy(&key));
    }

    fn preallocated(&self) -> u64 {
        let end = self.engine.log.lock().end_position();
        let file = &self.engine.log.segment(end.segment).unwrap().file;
        file.len().unwrap() - u64::from(end.offset)
    }
}

#[test]
fn preallocated_space_does_not_exceed_a_limit_that_a_mutation_lowers() {
    for (segment, long, len, used) in [
        (1 << 20, 440_000, 3000, 1_056_000),
        (1 << 20, 450_000, 3000, 1_056_000),
        (1 << 20, 470_000, 3000, 1_056_000),
        (256 << 10, 110_000, 3000, 262_000),
        (16 << 20, 7_000_000, 30_000, 16_700_000),
    ] {
        for destroy in [true, false] {
            let store = PreallocatingStore::open(segment);
            store.write(1, long);
            while store.engine.stats().disk_bytes < used {
                store.write(2, len);
            }
            assert!(store.preallocated() > 4096, "{}", store.preallocated());
            if destroy {
                store.destroy(1);
            } else {
                store.write(1, 0);
            }
        }
    }
}

#[test]
fn preallocated_space_never_exceeds_the_limit() {
    for seed in 0..10 {
        let mut rng = SeededRng(seed);
        let segment = 64 << (10 + rng.next_below(4));
        let store = PreallocatingStore::open(segment);
        let mut longest = 0;
        for _ in 0..20 {
            let sessions = 2 + rng.next_below(4) as u8;
            let max = segment / 2 - rng.next_below(segment / 3);
            for number in 1..sessions {
                store.write(number, rng.next_below(max) as usize);
            }
            // The garbage of these writes stays while all data is destroyed.
            let len = segment / 300 + rng.next_below(segment / 300);
            for _ in 0..rng.next_below(500) {
                store.write(0, len as usize);
                longest = store.preallocated().max(longest);
            }
            (0..sessions).for_each(|number| store.destroy(number));
            store.engine.log.sync().unwrap();
        }
        assert!(longest >= segment / 20, "{longest} bytes");
    }
}
