//! A read that touches a record which is not in the page cache.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        Durability, FileStore,
        async_ops::{FileInner, read_record},
        recover,
    },
    disk::SimDisk,
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, StoreError, StoreFuture, WriteRequest},
};

const LIFE: Duration = Duration::from_secs(60);
const KEY: StoreKey = StoreKey::from_bytes([7; StoreKey::LEN]);

/// Returns a store without threads, whose record is durable and not in a cache.
fn cold_store(durability: Durability) -> Arc<FileInner> {
    let disk = SimDisk::with_fault(None);
    let builder = FileStore::builder("simulated").durability(durability);
    let options = builder.cache_bytes(0).clock(clock()).options;
    let engine = recover::open::open(Box::new(disk.clone()), options).unwrap();
    let request = WriteRequest::new(&KEY, vec![7; 1000], LIFE, Expected::Any);
    engine.write(&request).map(drop).unwrap();
    engine.log.sync().unwrap();
    disk.drop_page_cache();
    Arc::new(FileInner::new(engine))
}

fn poll(read: &mut StoreFuture<ReadOutcome>) -> Poll<Result<ReadOutcome, StoreError>> {
    Pin::new(read).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn with_every_write_on_the_disk_the_answer_waits_until_the_touch_is_durable() {
    let inner = cold_store(Durability::Always);
    let mut read = read_record(&inner, KEY, Some(LIFE));
    assert!(poll(&mut read).is_pending());
    assert!(poll(&mut read).is_pending());
    inner.group_commit.stop();
    inner.group_commit.run_always(&inner.engine);
    let Poll::Ready(Ok(ReadOutcome::Found(_))) = poll(&mut read) else {
        panic!("the touch is durable");
    };
}

#[test]
fn with_an_interval_the_touch_is_durable_without_another_write() {
    let interval = Duration::from_millis(1);
    let inner = cold_store(Durability::Interval(interval));
    let mut read = read_record(&inner, KEY, Some(LIFE));
    let Poll::Ready(Ok(ReadOutcome::Found(_))) = poll(&mut read) else {
        panic!("the answer does not wait");
    };
    let touched = inner.engine.log.lock().last_position();
    assert!(!inner.engine.log.is_durable(touched));
    let running = Arc::clone(&inner);
    let commits = move || running.group_commit.run_interval(&running.engine, interval);
    let thread = thread::spawn(commits);
    let began = Instant::now();
    while !inner.engine.log.is_durable(touched) && began.elapsed() < Duration::from_secs(60) {
        thread::sleep(interval);
    }
    inner.group_commit.stop();
    thread.join().unwrap();
    assert!(inner.engine.log.is_durable(touched));
}
