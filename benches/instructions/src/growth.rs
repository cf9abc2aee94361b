//! Growth of the memory store: bytes of a session, and the longest calls while the store grows.
//!
//! `cargo bench --manifest-path benches/instructions/Cargo.toml --bench growth`. A number after `--`: the
//! sessions (default: a million). Bytes are those that the program asked its allocator for, so the
//! allocator's own are not included. Times need a machine without other work.

use std::{
    env,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper_session::{
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
