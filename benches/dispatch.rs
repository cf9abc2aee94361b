//! The cost of dynamic dispatch: the memory store itself, and behind `Box<dyn Store>` as in sessions.
//!
//! The calls are those of a request: a read, and a read followed by a write of the same data. The
//! difference in time is smaller than the noise, but instruction counts repeat exactly. Count them by
//! running the program under `valgrind --tool=callgrind` with `--bench --profile-time 1 read/dyn`. For
//! valgrind, the bench uses the system allocator and a manual clock.
//!
//! On x86-64 with Rust 1.95: 246 instructions for a read and 248 through `dyn`; 642 for a read and a
//! write, and 647 through `dyn`.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{Expected, MemoryStore, ReadOutcome, Store, WriteOutcome, WriteRequest},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the output of a future that is ready.
fn ready<T>(future: impl Future<Output = Result<T, hyper_session::store::StoreError>>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.expect("the memory store does not fail"),
        Poll::Pending => panic!("the memory store never suspends"),
    }
}

#[inline(never)]
fn read<S: Store + ?Sized>(store: &S, key: &StoreKey) -> ReadOutcome {
    ready(store.read(key, None))
}

#[inline(never)]
fn read_and_write<S: Store + ?Sized>(store: &S, key: &StoreKey) -> WriteOutcome {
    let ReadOutcome::Found(record) = ready(store.read(key, None)) else {
        panic!("the record exists");
    };
    let expected = Expected::Version(record.version);
    ready(store.write(WriteRequest::new(key, record.data, HOUR, expected).tags(record.tags)))
}

fn all(criterion: &mut Criterion) {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let concrete = MemoryStore::builder().clock(clock).build();
    let boxed: Box<dyn Store> = Box::new(concrete.clone());
    let key = SessionId::generate()
        .expect("random bytes are available")
        .store_key();
    let request = WriteRequest::new(&key, vec![7; 260], HOUR, Expected::Absent);
    ready(concrete.write(request));

    let mut group = criterion.benchmark_group("read");
    group.bench_function("concrete", |bench| {
        bench.iter(|| read(black_box(&concrete), &key));
    });
    group.bench_function("dyn", |bench| {
        bench.iter(|| read(&**black_box(&boxed), &key))
    });
    group.finish();

    let mut group = criterion.benchmark_group("read and write");
    group.bench_function("concrete", |bench| {
        bench.iter(|| read_and_write(black_box(&concrete), &key));
    });
    group.bench_function("dyn", |bench| {
        bench.iter(|| read_and_write(&**black_box(&boxed), &key));
    });
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
