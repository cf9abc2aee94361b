//! Growth of the memory store: bytes of a session, and the longest calls while the store grows, is full or is swept.
//!
//! `cargo bench --manifest-path benches/instructions/Cargo.toml --bench growth`. A number after `--`: the
//! sessions (default: a million). Words after `--` select parts: `flood`, `creations`, `calls`, `limit`. Bytes are those
//! that the program asked its allocator for, so the allocator's own are not included. Times need a machine without
//! other work. The stalls of the machine itself are measured beside them: times of a loop that does nothing.
//!
//! A store has the partitions that its default settings give it for a million sessions.

use std::{
    env,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{
        Expected, MemoryStore, ReadOutcome, Store, StoreFuture, Tag, TagStore, Tags, WriteOutcome,
        WriteRequest, memory::MemoryStoreBuilder,
    },
};

mod allocator;

/// Length of a record.
const DATA: usize = 256;

const TTL: Duration = Duration::from_secs(3600);

/// A prime, so that sessions come in an order that is not that of their creation.
const STEP: u64 = 7919;

/// One session in so many does not end in the flood.
const LIVE: u64 = 10;

/// The buffer of a record.
#[derive(Clone, Copy)]
enum Buffer {
    /// As a session writes it, with a reference count.
    Session,
    /// Without a reference count, as a caller of the store may write it.
    Plain,
}

impl Buffer {
    fn record(self) -> Bytes {
        match self {
            Self::Session => {
                let mut bytes = BytesMut::with_capacity(DATA);
                bytes.resize(DATA, b'x');
                bytes.split().freeze()
            }
            Self::Plain => vec![b'x'; DATA].into(),
        }
    }
}

/// The tags of the sessions.
#[derive(Clone, Copy)]
enum Tagging {
    None,
    /// Each session has a tag of its own.
    Distinct,
    /// All sessions have one tag.
    Common,
}

/// Measures something with this number of sessions.
type Part = fn(u64);

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = words.iter().find_map(|it| it.parse().ok());
    let sessions: u64 = number.unwrap_or(1_000_000);
    let parts: [(&str, Part); 4] = [
        // The first, so that no memory is resident that another part has freed.
        ("flood", end_flood),
        ("creations", grow_all),
        ("calls", time_calls),
        ("limit", create_at_limit),
    ];
    let is_named = |name: &str| words.iter().any(|it| it == name);
    let is_any_named = parts.iter().any(|(name, _)| is_named(name));
    for (name, measure) in parts {
        if is_named(name) || !is_any_named {
            measure(sessions);
        }
    }
}

/// Returns a builder of a store that holds the sessions and evicts none.
fn builder(sessions: u64) -> MemoryStoreBuilder {
    MemoryStore::builder()
        .max_records(sessions)
        .max_bytes(u64::MAX)
}

fn create(store: &MemoryStore, number: u64, ttl: Duration) -> Duration {
    let key = key(number);
    let request = WriteRequest::new(&key, Buffer::Session.record(), ttl, Expected::Absent);
    let began = Instant::now();
    let written = ready(store.write(request));
    let time = began.elapsed();
    assert!(matches!(written, WriteOutcome::Done(_)), "the key is new");
    time
}

/// Prints the times of reads, touches and destroys, and of creations that free ended sessions and tombstones.
fn time_calls(sessions: u64) {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let store = builder(sessions).clock(clock.clone()).build();
    for number in 0..sessions {
        create(&store, number, TTL);
    }
    println!("calls, {sessions} sessions of {DATA} B");
    let all = || (0..sessions).map(|number| number * STEP % sessions);
    print_times(
        "  reads",
        time_each(all(), |key| drop(ready(store.read(key, None)))),
    );
    print_times(
        "  touches",
        time_each(all(), |key| assert!(ready(store.touch(key, TTL)))),
    );
    let half = all().take(sessions as usize / 2);
    print_times(
        "  destroys of a half",
        time_each(half, |key| ready(store.destroy(key))),
    );
    clock.advance(2 * TTL);
    let new = sessions..sessions + sessions / 2;
    let times = new.map(|number| create(&store, number, TTL)).collect();
    print_times("  creations that free the ended", times);
    let began = Instant::now();
    let freed = store.sweep();
    println!("  a sweep of {freed} others: {:?}", began.elapsed());
    assert_eq!(store.stats().records, sessions / 2, "the new ones are left");
}

/// Calls a function with the key of each number. Returns the time of each call.
fn time_each(numbers: impl Iterator<Item = u64>, call: impl Fn(&StoreKey)) -> Vec<Duration> {
    let time = |number| {
        let key = key(number);
        let began = Instant::now();
        call(&key);
        began.elapsed()
    };
    numbers.map(time).collect()
}

/// Lets nine of ten sessions of a store expire at once. Prints the memory before and after the sweeps that free them,
/// and the times of a reader of the others beside the sweeps.
fn end_flood(sessions: u64) {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let store = builder(sessions).clock(clock.clone()).build();
    // Is resident before and after the flood, and never grows.
    let mut times = vec![Duration::MAX; sessions as usize];
    times.clear();
    let before = (allocator::bytes(), resident());
    for number in 0..sessions {
        let is_live = number % LIVE == 0;
        create(&store, number, if is_live { 4 * TTL } else { TTL });
    }
    let full = (allocator::bytes() - before.0, resident());
    clock.advance(2 * TTL);
    let is_swept = AtomicBool::new(false);
    let (freed, sweep) = thread::scope(|scope| {
        scope.spawn(|| read_until(&is_swept, &store, sessions, &mut times));
        let began = Instant::now();
        let freed = store.sweep();
        is_swept.store(true, Relaxed);
        (freed, began.elapsed())
    });
    let left = (allocator::bytes() - before.0, resident());
    let live = sessions.div_ceil(LIVE);
    assert_eq!(freed as u64, sessions - live, "the live sessions stay");
    assert_eq!(store.stats().records, live, "the others have expired");
    println!("{freed} of {sessions} sessions of {DATA} B expire at once; a sweep in {sweep:?}");
    print_times("  reads of the others beside the sweep", times);
    println!(
        "  allocated: {} kB, then {} kB",
        full.0 / 1000,
        left.0 / 1000
    );
    println!(
        "  resident: {} kB before, {} kB, then {} kB",
        before.1, full.1, left.1
    );
}

/// Reads random live sessions until the end of the sweep. Adds as many times as there is room for.
fn read_until(
    is_swept: &AtomicBool,
    store: &MemoryStore,
    sessions: u64,
    times: &mut Vec<Duration>,
) {
    let live = sessions.div_ceil(LIVE);
    let mut random = 1_u64;
    while times.is_empty() || !is_swept.load(Relaxed) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let key = key((random >> 32) % live * LIVE);
        let began = Instant::now();
        let read = ready(store.read(&key, None));
        let time = began.elapsed();
        assert!(matches!(read, ReadOutcome::Found(_)), "the session is live");
        if times.len() < times.capacity() {
            times.push(time);
        }
    }
}

/// Returns the resident memory of this process in kB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel has this statistic")
}

/// Creates as many sessions again as the store may have, so that each creation evicts, and prints the times of the calls:
/// on one thread, on two and on four.
fn create_at_limit(sessions: u64) {
    println!("{sessions} sessions of {DATA} B more than the limit of {sessions}");
    for threads in [1, 2, 4] {
        let store = builder(sessions).build();
        for number in 0..sessions {
            create(&store, number, TTL);
        }
        let began = Instant::now();
        let times: Vec<Vec<Duration>> = thread::scope(|scope| {
            let spawn = |first: u64| {
                let more = (sessions + first..2 * sessions).step_by(threads);
                let store = &store;
                scope.spawn(move || more.map(|number| create(store, number, TTL)).collect())
            };
            let spawned: Vec<_> = (0..threads as u64).map(spawn).collect();
            let joined = spawned.into_iter().map(|it| it.join());
            joined.map(|it| it.expect("no call panics")).collect()
        });
        println!("  {threads} threads in {:?}", began.elapsed());
        assert_eq!(store.stats().records, sessions, "each call evicts one");
        print_times("  creations", times.concat());
    }
}

fn grow_all(sessions: u64) {
    for (name, buffer, tagging) in [
        ("no tag", Buffer::Session, Tagging::None),
        ("a tag each", Buffer::Session, Tagging::Distinct),
        ("one tag for all", Buffer::Session, Tagging::Common),
        ("plain buffers, no tag", Buffer::Plain, Tagging::None),
        (
            "plain buffers, a tag each",
            Buffer::Plain,
            Tagging::Distinct,
        ),
    ] {
        grow(name, sessions, buffer, tagging);
    }
}

/// Creates the sessions, and prints the bytes of each and the times of the calls.
fn grow(name: &str, sessions: u64, buffer: Buffer, tagging: Tagging) {
    let store = builder(sessions).build();
    let mut times = Vec::with_capacity(sessions as usize);
    let before = allocator::bytes();
    for number in 0..sessions {
        let (key, tags) = (key(number), tags(number, tagging));
        let request = WriteRequest::new(&key, buffer.record(), TTL, Expected::Absent);
        let began = Instant::now();
        let written = ready(store.write(request.tags(tags)));
        times.push(began.elapsed());
        assert!(matches!(written, WriteOutcome::Done(_)), "the key is new");
    }
    let bytes = (allocator::bytes() - before) as u64 / sessions;
    println!("{sessions} sessions of {DATA} B, {name}: {bytes} B each");
    print_times("  creations", times);
    print_times("  stalls of the machine", stalls(sessions));
    let began = processor_time();
    assert_eq!(store.sweep(), 0, "none has expired");
    let visit = processor_time().saturating_sub(began);
    println!("  processor time of a sweep of all, once a minute: {visit:?}");
    if let Tagging::Common = tagging {
        list(&store, sessions);
    }
}

/// Lists all sessions of the common tag, and reads others between the parts.
fn list(store: &MemoryStore, sessions: u64) {
    let (mut parts, mut others) = (Vec::new(), Vec::new());
    let tag = Tag::new("common").expect("the tag is valid");
    let began = Instant::now();
    let mut tagged = store.tagged(&tag);
    let found = loop {
        let polled = Instant::now();
        let poll = Pin::new(&mut tagged).poll(&mut Context::from_waker(Waker::noop()));
        parts.push(polled.elapsed());
        if let Poll::Ready(found) = poll {
            break found.expect("the store answers");
        }
        let read = Instant::now();
        ready(store.read(&key(others.len() as u64), None));
        others.push(read.elapsed());
    };
    assert_eq!(found.len() as u64, sessions, "each is listed once");
    println!("  all sessions of the tag in {:?}", began.elapsed());
    print_times("  parts of it", parts);
    print_times("  reads between them", others);
}

/// Returns the processor time of this thread, to a few milliseconds.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanos = text
        .split_whitespace()
        .next()
        .and_then(|it| it.parse().ok());
    Duration::from_nanos(nanos.expect("the first number is a time"))
}

/// Returns times between two looks at the clock, in a loop for about as long as the creations take.
fn stalls(number: u64) -> Vec<Duration> {
    let mut times = Vec::with_capacity(number as usize);
    for _ in 0..number {
        let began = Instant::now();
        for step in 0..200 {
            black_box(step);
        }
        times.push(began.elapsed());
    }
    times
}

fn print_times(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: median {:?}, p99 {:?}, p99.99 {:?}, longest {:?}",
        at(0.5),
        at(0.99),
        at(0.9999),
        at(1.0)
    );
}

fn key(number: u64) -> StoreKey {
    SessionId::from_bytes(u128::from(number).to_le_bytes()).store_key()
}

fn tags(number: u64, tagging: Tagging) -> Tags {
    let mut tags = Tags::new();
    let name = match tagging {
        Tagging::None => return tags,
        Tagging::Distinct => format!("user:{number:08}"),
        Tagging::Common => "common".to_owned(),
    };
    let tag = Tag::new(name).expect("the tag is valid");
    tags.insert(&tag).expect("it is the only one");
    tags
}

/// Returns the output of a future that is ready.
fn ready<T: Unpin>(future: StoreFuture<T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.expect("the store answers"),
        Poll::Pending => unreachable!("the memory store never suspends"),
    }
}
