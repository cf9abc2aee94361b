//! Growth of the memory store: bytes of a session, and the longest calls while the store grows.
//!
//! `cargo bench --manifest-path benches/instructions/Cargo.toml --bench growth`. A number after `--`: the
//! sessions (default: a million). Bytes are those that the program asked its allocator for, so the
//! allocator's own are not included. Times need a machine without other work. The stalls of the machine itself are
//! measured beside them: times of a loop that does nothing.

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

use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{
        Expected, MemoryStore, Store, StoreFuture, Tag, TagStore, Tags, WriteOutcome, WriteRequest,
    },
};

mod allocator;

/// Length of a record.
const DATA: usize = 256;

const TTL: Duration = Duration::from_secs(3600);

/// The tags of the sessions.
#[derive(Clone, Copy)]
enum Tagging {
    None,
    /// Each session has a tag of its own.
    Distinct,
    /// All sessions have one tag.
    Common,
}

fn main() {
    let number = env::args().skip(1).find_map(|it| it.parse().ok());
    let sessions: u64 = number.unwrap_or(1_000_000);
    for (name, tagging) in [
        ("no tag", Tagging::None),
        ("a tag each", Tagging::Distinct),
        ("one tag for all", Tagging::Common),
    ] {
        grow(name, sessions, tagging);
    }
    create_at_limit(sessions);
    end_flood(sessions);
}

/// Lets all sessions of a store expire at once. Prints the memory before and after the sweeps that free them, and the
/// times of a reader beside the sweeps.
fn end_flood(sessions: u64) {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let store = MemoryStore::builder().max_records(u64::MAX);
    let store = store.max_bytes(u64::MAX).clock(clock.clone()).build();
    let before = (allocator::bytes(), resident());
    for number in 0..sessions {
        let key = key(number);
        let data = vec![b'x'; DATA];
        ready(store.write(WriteRequest::new(&key, data, TTL, Expected::Absent)));
    }
    let full = (allocator::bytes() - before.0, resident());
    clock.advance(2 * TTL);
    let live = key(sessions);
    ready(store.write(WriteRequest::new(&live, "x", TTL, Expected::Absent)));
    let is_swept = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_swept.load(Relaxed) {
                let began = Instant::now();
                ready(store.read(&live, None));
                times.push(began.elapsed());
            }
            times
        });
        let freed = store.sweep();
        is_swept.store(true, Relaxed);
        assert!(freed as u64 <= sessions, "the live session stays");
        reader.join().expect("the session is stored")
    });
    assert_eq!(store.stats().records, 1, "the others have expired");
    println!("{sessions} sessions of {DATA} B expire at once");
    // Drops the times, which take memory.
    print_times("  reads beside the sweep", times);
    let left = (allocator::bytes() - before.0, resident());
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

/// Returns the resident memory of this process in kB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel has this statistic")
}

/// Creates as many sessions again as the store may have, so that each creation evicts, and prints the times of the calls.
fn create_at_limit(sessions: u64) {
    let store = MemoryStore::builder().max_records(sessions);
    let store = store.max_bytes(u64::MAX).build();
    let mut times = Vec::with_capacity(sessions as usize);
    for number in 0..2 * sessions {
        let key = key(number);
        let request = WriteRequest::new(&key, vec![b'x'; DATA], TTL, Expected::Absent);
        let began = Instant::now();
        let written = ready(store.write(request));
        if number >= sessions {
            times.push(began.elapsed());
        }
        assert!(matches!(written, WriteOutcome::Done(_)), "the key is new");
    }
    let stored = store.stats().records;
    assert!(stored <= sessions, "{stored} sessions are over the limit");
    println!("{sessions} sessions of {DATA} B more than the limit of {sessions}");
    print_times("  creations", times);
}

/// Creates the sessions, and prints the bytes of each and the times of the calls.
fn grow(name: &str, sessions: u64, tagging: Tagging) {
    let store = MemoryStore::builder().max_records(u64::MAX);
    let store = store.max_bytes(u64::MAX).build();
    let mut times = Vec::with_capacity(sessions as usize);
    let before = allocator::bytes();
    for number in 0..sessions {
        let (key, tags) = (key(number), tags(number, tagging));
        let request = WriteRequest::new(&key, vec![b'x'; DATA], TTL, Expected::Absent);
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
