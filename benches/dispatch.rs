//! What it costs that a store's type is known only when the program runs: the memory store itself,
//! and the same behind `Box<dyn Store>`, as sessions hold it.
//!
//! The calls are those of a request: a read, and a read with a write on what was read. Times differ by
//! less than they vary; instructions repeat exactly, and are counted by running the program under
//! `valgrind --tool=callgrind` with `--bench --profile-time 1 read/dyn`. (So the allocator is the
//! system's and the clock stands still: valgrind follows neither another allocator nor the kernel's
//! quick way to tell the time.)
//!
//! Counted so, on x86-64 with Rust 1.95: 246 instructions for a read and 248 through `dyn`; 642 for a
//! read and a write, and 647.

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
    store::{Expected, MemoryStore, ReadOutcome, Store, WriteOutcome},
};

const HOUR: Duration = Duration::from_secs(3600);

/// The answer of a store that answers at once.
fn now<T>(answer: impl Future<Output = Result<T, hyper_session::store::StoreError>>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.expect("the memory store answers"),
        Poll::Pending => panic!("the memory store answers at once"),
    }
}

#[inline(never)]
fn read<S: Store + ?Sized>(store: &S, key: &StoreKey) -> ReadOutcome {
    now(store.read(key, None))
}

#[inline(never)]
fn read_and_write<S: Store + ?Sized>(store: &S, key: &StoreKey) -> WriteOutcome {
    let ReadOutcome::Found(record) = now(store.read(key, None)) else {
        panic!("the session is there");
    };
    let expected = Expected::Version(record.version);
    now(store.write(key, record.data, HOUR, expected))
}

fn all(criterion: &mut Criterion) {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let concrete = MemoryStore::builder().clock(clock).build();
    let boxed: Box<dyn Store> = Box::new(concrete.clone());
    let key = SessionId::generate()
        .expect("there is randomness")
        .store_key();
    now(concrete.write(&key, vec![7; 260].into(), HOUR, Expected::Absent));

    let mut group = criterion.benchmark_group("read");
    group.bench_function("concrete", |it| {
        it.iter(|| read(black_box(&concrete), &key));
    });
    group.bench_function("dyn", |it| it.iter(|| read(&**black_box(&boxed), &key)));
    group.finish();

    let mut group = criterion.benchmark_group("read and write");
    group.bench_function("concrete", |it| {
        it.iter(|| read_and_write(black_box(&concrete), &key));
    });
    group.bench_function("dyn", |it| {
        it.iter(|| read_and_write(&**black_box(&boxed), &key));
    });
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
