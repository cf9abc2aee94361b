//! How costs grow with the size of a document, the index of an array, the number of sessions, of cookies and
//! of sessions with one tag.
//!
//! `cargo bench --bench growth`. A word after `--` selects the tables with that word in their name.
//! `GROWTH_SESSIONS` is the largest number of sessions (default 1,000,000). `BENCH_RESULTS` names a file
//! for the results. `benches/hot_session.rs` measures how costs grow with the number of writers.

#[path = "support/results.rs"]
mod results;
#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;
#[path = "support/timing.rs"]
mod timing;

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use hyper::service::Service;
use hyper_session::{
    Session, SessionError, Sessions,
    id::{SessionId, StoreKey},
    session::CookiePolicy,
    store::{Expected, MemoryStore, Store, Tag, Tags, WriteRequest},
};
use mimalloc::MiMalloc;
use results::Results;
use serde_json::{Value, json};
use support::{Access, Body, Job, Size};
use timing::time;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const TTL: Duration = Duration::from_secs(7200);

/// The name of a table, and the function that measures it.
type Table = (&'static str, fn(&mut Results));

fn main() {
    let _runtime = support::enter();
    let mut results = Results::open("growth");
    let tables: [Table; 5] = [
        ("document size", document_size),
        ("array index", array_index),
        ("sessions", sessions),
        ("cookies", cookies),
        ("tag", tags),
    ];
    let word = env::args().skip(1).find(|word| !word.starts_with('-'));
    for (name, measure) in tables {
        if word
            .as_ref()
            .is_none_or(|word| name.contains(word.as_str()))
        {
            println!("\n{name}");
            measure(&mut results);
        }
    }
}

/// Prints a figure and records it.
fn report(results: &mut Results, table: &str, size: usize, line: &str, unit: &str, value: f64) {
    println!("  {size:>10} {line:32} {value:12.1} {unit}");
    results.add(&format!("{table}: {size}"), line, unit, value);
}

fn new_key() -> StoreKey {
    SessionId::generate()
        .expect("the system has random bytes")
        .store_key()
}

fn memory_sessions() -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), MemoryStore::new())
        .expect("the settings are valid")
}

/// Stores a session with these members. Returns its cookie.
fn seed(sessions: &Sessions, members: Vec<(&'static str, Value)>) -> String {
    let service = sessions.wrap_fn(move |_: Request<Body>, session: Session| {
        let members = members.clone();
        async move {
            let session = session.load().await?;
            for (key, value) in members {
                session.put(key, value)?;
            }
            Ok::<_, SessionError>(http::Response::new(Body::default()))
        }
    });
    let response = support::drive(service.call(support::plain()));
    let response = response.expect("a new session can be written");
    let cookie = response.headers()[header::SET_COOKIE]
        .to_str()
        .expect("it is ASCII");
    cookie.split(';').next().unwrap_or(cookie).to_owned()
}

/// Returns members of about `size` bytes; the counter is in the middle.
fn members_of(size: usize) -> Vec<(&'static str, Value)> {
    let half = |text: &str| Value::from(text.repeat(size.saturating_sub(60) / 2 / text.len()));
    vec![
        ("before", half("b8f1c2d3")),
        (support::COUNTER, json!(41)),
        ("after", half("e4a59687")),
    ]
}

fn document_size(results: &mut Results) {
    for size in [256, 1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024] {
        let sessions = memory_sessions();
        let request = support::with_cookie(&seed(&sessions, members_of(size)));
        let raw = time(support::raw(request.clone()));
        for job in [Job::Read, Job::Increment] {
            let call = support::call(&sessions, Access::Typed, job, request.clone());
            report(
                results,
                "document size",
                size,
                job.label(),
                "ns",
                time(call) - raw,
            );
        }
        let text = serde_json::to_vec(&members_of(size)).expect("a value is JSON");
        let parse = time(|| {
            black_box(serde_json::from_slice::<Value>(black_box(&text)).expect("it is JSON"));
        });
        report(
            results,
            "document size",
            size,
            "limit: serde_json reads it",
            "ns",
            parse,
        );
        let copy = time(|| drop(black_box(black_box(&text).clone())));
        report(
            results,
            "document size",
            size,
            "limit: one copy",
            "ns",
            copy,
        );
    }
}

fn array_index(results: &mut Results) {
    for length in [10_usize, 100, 1000, 10_000] {
        let items: Vec<Value> = (0..length)
            .map(|id| json!({"id": id, "name": "an item of the list"}))
            .collect();
        let sessions = memory_sessions();
        let cookie = seed(&sessions, vec![("items", items.into())]);
        let request = support::with_cookie(&cookie);
        let raw = time(support::raw(request.clone()));
        for reads in [1_usize, 10] {
            let service = sessions.wrap_fn(move |_: Request<Body>, session: Session| async move {
                let session = session.load().await?;
                for read in 0..reads {
                    let index = length - 1 - read;
                    let id: Option<usize> = session.get(&format!("items.{index}.id"))?;
                    assert_eq!(id, Some(index));
                }
                Ok::<_, SessionError>(http::Response::new(Body::default()))
            });
            let call = || {
                let response = support::drive(service.call(request.clone()));
                black_box(response.expect("the session can be read"));
            };
            let line = format!("{reads} of the last values");
            report(
                results,
                "array index",
                length,
                &line,
                "ns",
                time(call) - raw,
            );
        }
    }
}

fn sessions(results: &mut Results) {
    let largest = env::var("GROWTH_SESSIONS").map_or(1_000_000, |it| it.parse().expect("a number"));
    let data = Bytes::from(vec![b'x'; 256]);
    let store = MemoryStore::new();
    let mut keys: Vec<StoreKey> = Vec::new();
    let mut size = 1000;
    while size <= largest {
        let start = Instant::now();
        let created = size - keys.len();
        while keys.len() < size {
            let key = new_key();
            let request = WriteRequest::new(&key, data.clone(), TTL, Expected::Absent);
            support::drive(store.write(request)).expect("the store has room");
            keys.push(key);
        }
        let create = start.elapsed().as_nanos() as f64 / created as f64;
        report(
            results,
            "sessions",
            size,
            "create, with a new id",
            "ns",
            create,
        );
        // A prime step visits the keys in an order that is not that of their creation.
        let mut next = 0;
        let read = time(|| {
            next = (next + 7919) % keys.len();
            black_box(support::drive(store.read(&keys[next], None)).expect("the store responds"));
        });
        report(results, "sessions", size, "read", "ns", read);
        size *= 10;
    }
}

fn cookies(results: &mut Results) {
    let sessions = memory_sessions();
    let own = support::seed(&sessions, Size::Small);
    for count in [1_usize, 10, 50, 200] {
        for (kind, other) in [
            ("other names", "theme"),
            ("names that contain ours", "session_x"),
        ] {
            let others = (0..count).map(|it| format!("{other}{it}=0123456789abcdef"));
            let line = others.chain([own.clone()]).collect::<Vec<_>>().join("; ");
            let mut request = support::plain();
            let line = HeaderValue::try_from(line).expect("a cookie is visible ASCII");
            request.headers_mut().insert(header::COOKIE, line);
            let raw = time(support::raw(request.clone()));
            let call = support::call(&sessions, Access::Typed, Job::Read, request.clone());
            report(results, "cookies", count, kind, "ns", time(call) - raw);
        }
    }
}

fn tags(results: &mut Results) {
    let tag = Tag::new("editors").expect("the name is short");
    let mut tags = Tags::default();
    tags.insert(&tag).expect("there is room for one");
    for size in [100, 1000, 10_000, 100_000] {
        let store = MemoryStore::new();
        let write = || {
            let key = new_key();
            let request = WriteRequest::new(&key, Bytes::from_static(b"{}"), TTL, Expected::Absent);
            support::drive(store.write(request.tags(tags.clone()))).expect("the store has room");
        };
        let start = Instant::now();
        (0..size).for_each(|_| write());
        let create = start.elapsed().as_nanos() as f64 / size as f64;
        report(
            results,
            "tag",
            size,
            "create a session with the tag",
            "ns",
            create,
        );
        let index = store.tags().expect("the memory store has tags");
        let list = time(|| {
            let keys = support::drive(index.tagged(&tag)).expect("the store responds");
            assert_eq!(black_box(keys).len(), size);
        });
        report(
            results,
            "tag",
            size,
            "list, for each session",
            "ns",
            list / size as f64,
        );
    }
}
