//! How costs grow with the size of a document, the index of an array, the number of sessions, of cookies, of forged
//! cookies and of sessions with one tag.
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
    sync::Arc,
    time::{Duration, Instant},
};

use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit, Nonce, Tag as AeadTag};
use base64_simd::Out;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::service::Service;
use hyper_session::{
    Session, SessionError, Sessions,
    id::{SessionId, StoreKey},
    session::CookiePolicy,
    store::{Expected, MemoryStore, ReadOutcome, Store, Tag, Tags, WriteRequest},
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
    let tables: [Table; 6] = [
        ("document size", document_size),
        ("array index", array_index),
        ("sessions", sessions),
        ("cookies", cookies),
        ("forged", forged_cookies),
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

/// Returns a store with room for the largest number of sessions, so that nothing is evicted. A larger limit would give
/// it more partitions than stores have.
fn memory_store() -> MemoryStore {
    let builder = MemoryStore::builder().max_records(largest_number() as u64);
    builder.max_bytes(u64::MAX).build()
}

fn memory_sessions() -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), memory_store())
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
            "limit of read one key: serde_json reads it all",
            "ns",
            parse,
        );
        let copy = time(|| drop(black_box(black_box(&text).clone())));
        report(
            results,
            "document size",
            size,
            "limit of read one key: one copy",
            "ns",
            copy,
        );
    }
}

/// The order in which a request reads ten values of arrays.
#[derive(Clone, Copy)]
enum Order {
    /// The last value alone.
    One,
    Ascending,
    Descending,
    /// Of two arrays in turn.
    Alternating,
    /// Of an array inside an array: each of ten rows of a tenth of the length, to the end.
    Nested,
}

impl Order {
    const ALL: [Self; 5] = [
        Self::One,
        Self::Ascending,
        Self::Descending,
        Self::Alternating,
        Self::Nested,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::One => "the last value",
            Self::Ascending => "the last 10, in order",
            Self::Descending => "the last 10, backwards",
            Self::Alternating => "the last 5 of two arrays, in turn",
            Self::Nested => "the last of each of 10 rows",
        }
    }

    /// Returns the paths, with the numbers at them.
    fn paths(self, length: usize) -> Vec<(String, usize)> {
        let item = |index: usize| (format!("items.{index}.id"), index);
        let last = length - 10..length;
        match self {
            Self::One => vec![item(length - 1)],
            Self::Ascending => last.map(item).collect(),
            Self::Descending => last.rev().map(item).collect(),
            Self::Alternating => (length - 5..length)
                .flat_map(|index| [item(index), (format!("others.{index}.id"), index)])
                .collect(),
            Self::Nested => (0..10)
                .map(|row| {
                    let column = length / 10 - 1;
                    (format!("rows.{row}.{column}.id"), column)
                })
                .collect(),
        }
    }
}

fn array_index(results: &mut Results) {
    for length in [10_usize, 100, 1000, 10_000] {
        let array = |length: usize| {
            let item = |id| json!({"id": id, "name": "an item of the list"});
            Value::from((0..length).map(item).collect::<Vec<_>>())
        };
        for order in Order::ALL {
            let members = match order {
                Order::Nested => vec![("rows", (0..10).map(|_| array(length / 10)).collect())],
                Order::Alternating => vec![("items", array(length)), ("others", array(length))],
                _ => vec![("items", array(length))],
            };
            let sessions = memory_sessions();
            let request = support::with_cookie(&seed(&sessions, members));
            let raw = time(support::raw(request.clone()));
            let paths = Arc::new(order.paths(length));
            let service = sessions.wrap_fn(move |_: Request<Body>, session: Session| {
                let paths = Arc::clone(&paths);
                async move {
                    let session = session.load().await?;
                    for (path, number) in paths.iter() {
                        let id: Option<usize> = session.get(path.as_str())?;
                        assert_eq!(id, Some(*number));
                    }
                    Ok::<_, SessionError>(http::Response::new(Body::default()))
                }
            });
            let net = time(|| {
                let response = support::drive(service.call(request.clone()));
                black_box(response.expect("the session can be read"));
            }) - raw;
            report(results, "array index", length, order.label(), "ns", net);
        }
    }
}

/// Returns the largest number of sessions.
fn largest_number() -> usize {
    env::var("GROWTH_SESSIONS").map_or(1_000_000, |it| it.parse().expect("a number"))
}

fn sessions(results: &mut Results) {
    let largest = largest_number();
    let data = Bytes::from(vec![b'x'; 256]);
    let store = memory_store();
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
            let read = support::drive(store.read(&keys[next], None));
            let read = black_box(read.expect("the store responds"));
            assert!(matches!(read, ReadOutcome::Found(_)), "nothing is evicted");
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

/// Returns the place of a character in a cookie.
type Place = fn(&str) -> usize;

/// Returns `true` if a stored session has this cookie.
fn opens_session(sessions: &Sessions, cookie: &str) -> bool {
    let service = sessions.wrap_fn(async |_: Request<Body>, session: Session| {
        let is_empty = session.load().await?.is_empty()?;
        let mut response = http::Response::new(Body::default());
        *response.status_mut() = match is_empty {
            true => StatusCode::NO_CONTENT,
            false => StatusCode::OK,
        };
        Ok::<_, SessionError>(response)
    });
    let response = support::drive(service.call(support::with_cookie(cookie)));
    response.expect("the session can be read").status() == StatusCode::OK
}

/// Measures cookies with our name and a wrong seal, before the right one. At most 16 are opened.
fn forged_cookies(results: &mut Results) {
    let sessions = memory_sessions();
    let own = support::seed(&sessions, Size::Small);
    // One character of a right cookie is changed: of the tag, which only the seal can tell, or of the key id.
    let kinds: [(&str, Place); 2] = [
        ("a forged cookie", |cookie| cookie.len() - 4),
        ("a cookie of another key", |cookie| {
            // After the name: a claim of 6 characters, then the sealed text with a version byte and the key id.
            cookie.find('=').map_or(0, |at| at + 1 + 6 + 3)
        }),
    ];
    let forge = |place: Place| {
        let cookie = support::seed(&sessions, Size::Small);
        let at = place(&cookie);
        let mut cookie = cookie.into_bytes();
        cookie[at] = if cookie[at] == b'A' { b'B' } else { b'A' };
        let cookie = String::from_utf8(cookie).expect("it is ASCII");
        assert!(!opens_session(&sessions, &cookie), "the seal is right");
        cookie
    };
    let cipher = Aes256GcmSiv::new(&[7; 32].into());
    for count in [1_usize, 4, 15] {
        let request = |line: String| {
            let mut request = support::plain();
            let line = HeaderValue::try_from(line).expect("a cookie is visible ASCII");
            request.headers_mut().insert(header::COOKIE, line);
            request
        };
        let net = |line: String| {
            let request = request(line);
            let call = support::call(&sessions, Access::Typed, Job::Read, request.clone());
            time(call) - time(support::raw(request))
        };
        let alone = net(own.clone());
        for (kind, place) in kinds {
            let forged: Vec<String> = (0..count).map(|_| forge(place)).collect();
            let each = (net(format!("{}; {own}", forged.join("; "))) - alone) / count as f64;
            report(results, "forged cookies", count, kind, "ns", each);
        }
        // Zeros of the same length.
        let length = own.split_once('=').map_or(0, |(_, text)| text.len());
        let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(vec![0; length * 3 / 4]);
        let mut bytes = vec![0; length];
        let open = time(|| {
            let text = black_box(text.as_bytes());
            let decoded = base64_simd::URL_SAFE_NO_PAD.decode(text, Out::from_slice(&mut bytes));
            let body = decoded.expect("it is base64");
            let (body, tag) = body.split_last_chunk_mut::<16>().expect("it has a tag");
            let tag = AeadTag::from(*tag);
            let opened = cipher.decrypt_inout_detached(&Nonce::default(), b"", body.into(), &tag);
            assert!(opened.is_err(), "it has another key");
        });
        let limit = "limit of a forged cookie: base64 and AES-256-GCM-SIV";
        report(results, "forged cookies", count, limit, "ns", open);
    }
}

fn tags(results: &mut Results) {
    let tag = Tag::new("editors").expect("the name is short");
    let mut tags = Tags::default();
    tags.insert(&tag).expect("there is room for one");
    for size in [100, 1000, 10_000, 100_000, 1_000_000] {
        if size > largest_number() {
            break;
        }
        let store = memory_store();
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
