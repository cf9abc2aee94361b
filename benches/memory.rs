//! The memory store beside one locked `HashMap`, in the same run: what a call takes by one thread
//! and by two at once, and what memory a record takes.
//!
//! `cargo bench --bench memory`. A time is that of one call; with two threads, the wall time divided
//! by the calls of both. The map has what a store of a few lines would have: a mutex around a
//! standard `HashMap`, a version and an expiry; no limits, no tombstones, no tags, no sweeping.
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
    store::{Expected, MemoryStore, ReadOutcome, Store, StoreFuture, Version, WriteOutcome},
};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RECORDS: usize = 100_000;
const HOT: usize = 8;
const THREADS: u64 = 2;
const DATA: usize = 256;
const TTL: Duration = Duration::from_secs(7200);

/// The same calls on both.
trait Side: Sync {
    const NAME: &str;

    fn read(&self, key: &StoreKey) -> Option<(Bytes, Version)>;

    fn write(&self, key: &StoreKey, data: Bytes, expected: Expected) -> Option<Version>;

    fn end(&self, key: &StoreKey);
}

impl Side for MemoryStore {
    const NAME: &str = "store";

    fn read(&self, key: &StoreKey) -> Option<(Bytes, Version)> {
        match now(Store::read(self, key, None)) {
            ReadOutcome::Found(record) => Some((record.data, record.version)),
            ReadOutcome::Absent | ReadOutcome::Gone => None,
        }
    }

    fn write(&self, key: &StoreKey, data: Bytes, expected: Expected) -> Option<Version> {
        match now(Store::write(self, key, data, TTL, expected)) {
            WriteOutcome::Done(version) => Some(version),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => None,
        }
    }

    fn end(&self, key: &StoreKey) {
        now(self.destroy(key));
    }
}

struct Held {
    data: Bytes,
    version: Version,
    expires: Timestamp,
}

#[derive(Default)]
struct LockedMap {
    clock: Clock,
    records: Mutex<HashMap<StoreKey, Held>>,
}

impl Side for LockedMap {
    const NAME: &str = "locked map";

    fn read(&self, key: &StoreKey) -> Option<(Bytes, Version)> {
        let records = self.records.lock().unwrap();
        let held = records.get(key)?;
        (self.clock.now() < held.expires).then(|| (held.data.clone(), held.version))
    }

    fn write(&self, key: &StoreKey, data: Bytes, expected: Expected) -> Option<Version> {
        let mut records = self.records.lock().unwrap();
        let now = self.clock.now();
        let stands = records.get(key).filter(|held| now < held.expires);
        let stands = stands.map(|held| held.version);
        let may = match expected {
            Expected::Any => true,
            Expected::Absent => stands.is_none(),
            Expected::Version(_) => stands.map(Expected::Version) == Some(expected),
        };
        let version = Version::new(stands.map_or(0, Version::get) + 1)?;
        may.then(|| {
            let expires = now.saturating_add(TTL);
            records.insert(
                *key,
                Held {
                    data,
                    version,
                    expires,
                },
            );
            version
        })
    }

    fn end(&self, key: &StoreKey) {
        self.records.lock().unwrap().remove(key);
    }
}

/// The memory store answers at once.
fn now<T: Unpin>(answer: StoreFuture<T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => unreachable!("the memory store never suspends"),
    }
}

fn data() -> Bytes {
    Bytes::from(vec![b'x'; DATA])
}

fn key(number: u128) -> StoreKey {
    SessionId::from_bytes(number.to_le_bytes()).store_key()
}

fn filled<S: Side>(side: S, keys: &[StoreKey]) -> S {
    for key in keys {
        side.write(key, data(), Expected::Absent).unwrap();
    }
    side
}

/// Numbers without end, the same in every run.
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

fn read_write(side: &impl Side, key: &StoreKey, writes: bool) {
    if !writes {
        black_box(side.read(key));
    } else if let Some((_, version)) = side.read(key) {
        black_box(side.write(key, data(), Expected::Version(version)));
    }
}

/// The wall time in which `threads` make `calls` calls, one in twenty of them a read and a write.
fn mixed(side: &impl Side, keys: &[StoreKey], threads: u64, calls: u64) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in random(thread + 1).take((calls / threads) as usize) {
                    let key = keys.get(number % keys.len()).unwrap();
                    read_write(side, key, (number / RECORDS).is_multiple_of(20));
                }
            });
        }
    });
    start.elapsed()
}

fn bench_side<S: Side>(criterion: &mut Criterion, side: &S, keys: &[StoreKey]) {
    let name = |case: &str| format!("{case}/{}", S::NAME);
    let mut numbers = random(7);
    let mut any_key = || keys.get(numbers.next().unwrap() % keys.len()).unwrap();
    criterion.bench_function(&name("read, any of 100k"), |bench| {
        bench.iter(|| side.read(any_key()));
    });
    criterion.bench_function(&name("write on a version, any of 100k"), |bench| {
        bench.iter(|| read_write(side, any_key(), true));
    });
    for (case, keys) in [
        ("any of 100k", keys),
        ("8 hot keys", keys.get(..HOT).unwrap()),
    ] {
        for threads in [1, THREADS] {
            let name = name(&format!("95 reads to 5 writes, {case}, {threads} threads"));
            criterion.bench_function(&name, |bench| {
                bench.iter_custom(|calls| mixed(side, keys, threads, calls));
            });
        }
    }
}

/// A thousand sessions begin and end in every second of a clock that is moved by hand, so that the
/// store has 60,000 tombstones and sweeps as many away as come.
fn bench_creation<S: Side>(criterion: &mut Criterion, side: &S, clock: &Clock) {
    let mut fresh = (RECORDS as u128..).map(key);
    criterion.bench_function(&format!("create and destroy/{}", S::NAME), |bench| {
        bench.iter(|| {
            let key = fresh.next().unwrap();
            side.write(&key, data(), Expected::Absent);
            side.end(&key);
            clock.advance(Duration::from_millis(1));
        });
    });
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn bytes_per_record<S: Side>(side: S, keys: &[StoreKey]) -> S {
    let before = resident();
    let side = filled(side, keys);
    let each = resident().saturating_sub(before) / keys.len();
    println!("{}: {each} bytes a record, {DATA} of them data", S::NAME);
    side
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
