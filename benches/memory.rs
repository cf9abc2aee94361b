//! The memory store against a `HashMap` behind a mutex: time per call with one and with two threads,
//! and memory per record.
//!
//! `cargo bench --bench memory`. With two threads, the time per call is the wall time divided by the
//! calls of both. The map has a version and an expiry, but no limits, tombstones, tags or sweeping.
use std::{
    collections::HashMap,
    fs,
    future::Future,
    hint::black_box,
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{
        Expected, MemoryStore, ReadOutcome, Store, StoreFuture, Version, WriteOutcome, WriteRequest,
    },
};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RECORDS: usize = 100_000;
const HOT: usize = 8;
const THREADS: u64 = 2;
const DATA: usize = 256;
const TTL: Duration = Duration::from_secs(7200);

/// The calls that the bench makes on both stores.
trait BenchStore: Sync {
    const NAME: &str;

    fn read(&self, key: &StoreKey) -> Option<(Bytes, Version)>;

    fn write(&self, key: &StoreKey, data: Bytes, expected: Expected) -> Option<Version>;

    fn remove(&self, key: &StoreKey);
}

impl BenchStore for MemoryStore {
    const NAME: &str = "store";

    fn read(&self, key: &StoreKey) -> Option<(Bytes, Version)> {
        match ready(Store::read(self, key, None)) {
            ReadOutcome::Found(record) => Some((record.data, record.version)),
            ReadOutcome::Absent | ReadOutcome::Gone => None,
        }
    }

    fn write(&self, key: &StoreKey, data: Bytes, expected: Expected) -> Option<Version> {
        let request = WriteRequest::new(key, data, TTL, expected);
        match ready(Store::write(self, request)) {
            WriteOutcome::Done(version) => Some(version),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => None,
        }
    }

    fn remove(&self, key: &StoreKey) {
        ready(self.destroy(key));
    }
}

struct MapRecord {
    data: Bytes,
    version: Version,
    expires: Timestamp,
}

#[derive(Default)]
struct LockedMap {
    clock: Clock,
    records: Mutex<HashMap<StoreKey, MapRecord>>,
}

impl BenchStore for LockedMap {
    const NAME: &str = "locked map";

    fn read(&self, key: &StoreKey) -> Option<(Bytes, Version)> {
        let records = self.records.lock().unwrap();
        let record = records.get(key)?;
        (self.clock.now() < record.expires).then(|| (record.data.clone(), record.version))
    }

    fn write(&self, key: &StoreKey, data: Bytes, expected: Expected) -> Option<Version> {
        let mut records = self.records.lock().unwrap();
        let now = self.clock.now();
        let live = records.get(key).filter(|record| now < record.expires);
        let stored = live.map(|record| record.version);
        let matches = match expected {
            Expected::Any => true,
            Expected::Absent => stored.is_none(),
            Expected::Version(_) => stored.map(Expected::Version) == Some(expected),
        };
        let version = Version::new(stored.map_or(0, Version::get) + 1)?;
        matches.then(|| {
            let expires = now.saturating_add(TTL);
            records.insert(
                *key,
                MapRecord {
                    data,
                    version,
                    expires,
                },
            );
            version
        })
    }

    fn remove(&self, key: &StoreKey) {
        self.records.lock().unwrap().remove(key);
    }
}

/// Returns the output of a future that is ready.
fn ready<T: Unpin>(future: StoreFuture<T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => unreachable!("the memory store never suspends"),
    }
}

fn data() -> Bytes {
    Bytes::from(vec![b'x'; DATA])
}

fn key(number: u128) -> StoreKey {
    SessionId::from_bytes(number.to_le_bytes()).store_key()
}

fn fill<S: BenchStore>(store: S, keys: &[StoreKey]) -> S {
    for key in keys {
        store.write(key, data(), Expected::Absent).unwrap();
    }
    store
}

/// Returns an endless sequence of pseudorandom numbers, the same in every run.
fn random(seed: u64) -> impl Iterator<Item = usize> {
    let next = |state: &u64| {
        Some(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    };
    std::iter::successors(Some(seed), next).map(|state| (state >> 33) as usize)
}

fn read_write(store: &impl BenchStore, key: &StoreKey, writes: bool) {
    if !writes {
        black_box(store.read(key));
    } else if let Some((_, version)) = store.read(key) {
        black_box(store.write(key, data(), Expected::Version(version)));
    }
}

/// Returns the wall time of `calls` calls by `threads` threads. One in twenty is a read and a write.
fn mixed(store: &impl BenchStore, keys: &[StoreKey], threads: u64, calls: u64) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in random(thread + 1).take((calls / threads) as usize) {
                    let key = keys.get(number % keys.len()).unwrap();
                    read_write(store, key, (number / RECORDS).is_multiple_of(20));
                }
            });
        }
    });
    start.elapsed()
}

fn bench_side<S: BenchStore>(criterion: &mut Criterion, store: &S, keys: &[StoreKey]) {
    let name = |case: &str| format!("{case}/{}", S::NAME);
    let mut numbers = random(7);
    let mut any_key = || keys.get(numbers.next().unwrap() % keys.len()).unwrap();
    criterion.bench_function(&name("read, any of 100k"), |bench| {
        bench.iter(|| store.read(any_key()));
    });
    criterion.bench_function(&name("write on a version, any of 100k"), |bench| {
        bench.iter(|| read_write(store, any_key(), true));
    });
    for (case, keys) in [
        ("any of 100k", keys),
        ("8 hot keys", keys.get(..HOT).unwrap()),
    ] {
        for threads in [1, THREADS] {
            let name = name(&format!("95 reads to 5 writes, {case}, {threads} threads"));
            criterion.bench_function(&name, |bench| {
                bench.iter_custom(|calls| mixed(store, keys, threads, calls));
            });
        }
    }
}

/// Creates and destroys a thousand sessions per second of a manual clock. The store then has 60,000
/// tombstones and sweeps as many as it creates.
fn bench_creation<S: BenchStore>(criterion: &mut Criterion, store: &S, clock: &Clock) {
    let mut fresh = (RECORDS as u128..).map(key);
    criterion.bench_function(&format!("create and destroy/{}", S::NAME), |bench| {
        bench.iter(|| {
            let key = fresh.next().unwrap();
            store.write(&key, data(), Expected::Absent);
            store.remove(&key);
            clock.advance(Duration::from_millis(1));
        });
    });
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn bytes_per_record<S: BenchStore>(store: S, keys: &[StoreKey]) -> S {
    let before = resident();
    let store = fill(store, keys);
    let each = resident().saturating_sub(before) / keys.len();
    println!("{}: {each} bytes a record, {DATA} of them data", S::NAME);
    store
}

fn memory(criterion: &mut Criterion) {
    let keys: Vec<StoreKey> = (0..RECORDS as u128).map(key).collect();
    let store = bytes_per_record(MemoryStore::new(), &keys);
    let map = bytes_per_record(LockedMap::default(), &keys);
    bench_side(criterion, &store, &keys);
    bench_side(criterion, &map, &keys);

    let clock = Clock::manual(Timestamp::from_millis(0));
    let store = MemoryStore::builder().clock(clock.clone()).build();
    bench_creation(criterion, &store, &clock);
    let records = Mutex::default();
    let map = LockedMap {
        clock: clock.clone(),
        records,
    };
    bench_creation(criterion, &map, &clock);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = memory
}
criterion_main!(benches);
