//! A mutation for which there is no room waits for a compaction.

use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
    thread,
    time::Duration,
};

use super::{
    super::{
        Durability, FileError, FileStore,
        async_ops::{Attempt, FileInner, write_single},
        recover,
    },
    disk::SimDisk,
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, StoreFuture, WriteOutcome, WriteRequest},
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

/// Opens a store without threads.
fn open(disk: &SimDisk) -> FileInner {
    let options = FileStore::builder("simulated").durability(Durability::Os);
    let options = options
        .segment_bytes(16 << 10)
        .cache_bytes(0)
        .clock(clock());
    let engine = recover::open::open(Box::new(disk.clone()), options.options).unwrap();
    FileInner::new(engine)
}

async fn full_store_on(disk: &SimDisk) -> FileInner {
    let inner = Arc::new(open(disk));
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
    let read = inner.read(&KEY, Some(LIFE), false).unwrap();
    assert!(matches!(read, Attempt::Done((ReadOutcome::Found(_), _))));
}

#[test]
fn while_the_device_hangs_a_write_without_room_fails_in_time() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let disk = SimDisk::with_fault(None);
    let mut inner = runtime.block_on(full_store_on(&disk));
    inner.max_wait = Duration::from_millis(50);
    let inner = Arc::new(inner);
    let device = disk.device();
    let hanging = device.write().unwrap();
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    let written = runtime.block_on(async {
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, write(&inner)).await
    });
    let refused = written.expect("the write has a deadline").unwrap_err();
    let source = refused.source().unwrap().downcast_ref();
    assert!(
        matches!(source, Some(FileError::DiskLimit { .. })),
        "{refused}"
    );
    drop(hanging);
    while runtime.block_on(write(&inner)).is_err() {}
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
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
    let read = inner.read(&KEY, Some(LIFE), false).unwrap();
    assert!(matches!(read, Attempt::Done((ReadOutcome::Found(_), _))));
}
