//! The memory store with many threads: its statistics stay exact and its tag index matches the
//! records.
use std::{
    collections::HashSet,
    future::Future,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        Expected, Expiry, MemoryStore, ReadOutcome, Store, StoreFuture, Tag, TagStore, Tags,
        WriteRequest,
    },
};

const THREADS: u64 = 4;
const STEPS: u64 = 20_000;
const TOMBSTONE: Duration = Duration::from_millis(30);

/// Returns the output of a future that is ready.
fn ready<T: Unpin>(future: StoreFuture<T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => unreachable!("the memory store never suspends"),
    }
}

fn key(number: u64) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    StoreKey::from_bytes(bytes)
}

fn tag(number: u64) -> Tag {
    Tag::new(format!("tag {number}")).unwrap()
}

fn tags<'t>(list: impl IntoIterator<Item = &'t Tag>) -> Tags {
    let mut tags = Tags::new();
    for tag in list {
        tags.insert(tag).unwrap();
    }
    tags
}

/// Returns the next pseudorandom number. Every run has the same sequences, one per seed.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Makes one random call. Few keys and tags make threads collide. Short TTLs make records expire, be
/// swept and be created again while they are tagged.
fn step(store: &MemoryStore, clock: &Clock, seed: &mut u64) {
    let at = key(random(seed) % 24);
    let (name, other) = (tag(random(seed) % 5), tag(random(seed) % 5));
    let ttl = Duration::from_millis(random(seed) % 40);
    match random(seed) % 16 {
        0..=4 => {
            let data = Bytes::from(vec![0; (random(seed) % 100) as usize]);
            ready(store.write(WriteRequest::new(&at, data, ttl, Expected::Any)));
        }
        5 => ready(store.destroy(&at)),
        6 => drop(ready(store.touch(&at, ttl))),
        7 => drop(ready(store.read(&at, Some(ttl)))),
        8..=10 => {
            let request = WriteRequest::new(&at, "tagged", ttl, Expected::Any);
            ready(store.write(request.tags(tags([&name, &other]))));
        }
        11..=12 => {
            let request = WriteRequest::new(&at, "kept", Expiry::Keep, Expected::Any);
            ready(store.write(request.tags(tags([&name]))));
        }
        13 => {
            let listed = ready(store.tagged(&name));
            let unique: HashSet<_> = listed.iter().collect();
            assert_eq!(unique.len(), listed.len(), "no session is listed twice");
        }
        14 => drop(store.sweep()),
        _ => clock.advance(Duration::from_millis(1)),
    }
}

fn race(store: &MemoryStore, clock: &Clock) {
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                let mut seed = number;
                for _ in 0..STEPS {
                    step(store, clock, &mut seed);
                }
            });
        }
    });
}

#[test]
fn after_any_race_the_figures_are_exact_and_nothing_is_left_behind() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    for max_records in [1_000, 12] {
        let builder = MemoryStore::builder()
            .clock(clock.clone())
            .tombstone_ttl(TOMBSTONE);
        let store = builder
            .max_records(max_records)
            .max_tombstones(max_records)
            .build();
        race(&store, &clock);

        let live: Vec<StoreKey> = (0..24)
            .map(key)
            .filter(|key| matches!(ready(store.read(key, None)), ReadOutcome::Found(_)))
            .collect();
        for key in (0..5).flat_map(|number| ready(store.tagged(&tag(number)))) {
            assert!(live.contains(&key), "only live sessions are listed");
        }
        store.sweep();
        assert_eq!(
            store.stats().records,
            live.len() as u64,
            "the count of records is exact"
        );

        for number in 0..24 {
            ready(store.destroy(&key(number)));
        }
        assert_eq!((store.stats().records, store.stats().bytes), (0, 0));
        clock.advance(TOMBSTONE);
        store.sweep();
        let stats = store.stats();
        assert_eq!((stats.records, stats.tombstones, stats.bytes), (0, 0, 0));

        for number in 0..24 {
            let request = WriteRequest::new(&key(number), "", TOMBSTONE, Expected::Absent);
            ready(store.write(request));
        }
        assert!((0..5).all(|number| ready(store.tagged(&tag(number))).is_empty()));
    }
}

#[test]
fn a_limit_is_kept_while_many_write_new_records() {
    let store = MemoryStore::builder()
        .max_records(1_000)
        .max_bytes(50_000)
        .build();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for number in 0..STEPS {
                    let data = Bytes::from(vec![0; (number % 200) as usize]);
                    let key = key((thread << 32) + number);
                    let ttl = Duration::from_secs(60);
                    ready(store.write(WriteRequest::new(&key, data, ttl, Expected::Absent)));
                    let stats = store.stats();
                    assert!(stats.records <= 1_000 + THREADS, "{stats:?}");
                    assert!(stats.bytes <= 50_000 + THREADS * 200, "{stats:?}");
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!(stats.records + stats.evicted, THREADS * STEPS);
}

/// Two threads of each round create a session, the others overwrite the session of the last round.
#[test]
fn calls_at_once_evict_no_more_than_the_excess() {
    const ROUNDS: u64 = 3_000;
    const LIMIT: u64 = 8;
    let store = MemoryStore::builder().max_records(LIMIT).build();
    let write = |number: u64, expected| {
        let ttl = Duration::from_secs(3600);
        ready(store.write(WriteRequest::new(&key(number), "x", ttl, expected)))
    };
    (0..LIMIT).for_each(|number| drop(write(number, Expected::Absent)));
    let barrier = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, barrier, write) = (&store, &barrier, &write);
            scope.spawn(move || {
                let mut wrong = Vec::new();
                for round in 1..=ROUNDS {
                    barrier.wait();
                    let last = LIMIT + 2 * (round - 1) + thread % 2;
                    match ready(store.read(&key(last), None)) {
                        _ if thread < 2 => drop(write(last + 2, Expected::Absent)),
                        ReadOutcome::Found(record) => {
                            drop(write(last, Expected::Version(record.version)));
                        }
                        ReadOutcome::Absent | ReadOutcome::Gone => {}
                    }
                    barrier.wait();
                    let stats = store.stats();
                    if (stats.records, stats.evicted) != (LIMIT, 2 * round) {
                        wrong.push((round, stats));
                    }
                    barrier.wait();
                }
                // Not in the loop, since the other threads would wait for this one.
                assert!(wrong.is_empty(), "{:?}", wrong.first());
            });
        }
    });
}
