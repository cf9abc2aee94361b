//! The same session requests on every store, beside what the machine can do.
//!
//! `cargo bench --features redis --bench stores`. A word after `--` selects the stores with that word in their
//! name. With the feature `redis`, the bench starts a `redis-server` on a free port. `STORES_COLD` is the number of cold
//! visitors (default 1,000,000; a tenth on Redis). `BENCH_RESULTS` names a file for the results.
//!
//! The figures are net: the median of a raw service is subtracted. Each thread has a visitor of its own, whose requests
//! run one after the other and who follows the cookies of the responses, so the figures of Redis are
//! round-trip times; `benches/redis.rs` measures concurrent requests. With two threads, the figure is the
//! wall time divided by the calls of both.

mod documents;
mod limits;
#[cfg(feature = "redis")]
#[allow(unused_imports, reason = "a part of the test support")]
#[path = "../../tests/support/redis_servers/mod.rs"]
mod redis_servers;
#[path = "../support/results.rs"]
mod results;
#[allow(dead_code, unused_imports, reason = "made for several targets")]
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/timing.rs"]
mod timing;
mod visitor;

use std::{env, thread, time::Instant};

use documents::Document;
use hyper_session::{
    Sessions,
    session::CookiePolicy,
    store::{CookieStore, MemoryStore, Store},
};
use mimalloc::MiMalloc;
use results::Results;
use timing::{median, per_call, time};
use visitor::{Job, Visitor};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A store with its name in the report.
struct Candidate {
    name: &'static str,
    sessions: Sessions,
    /// The largest document that it holds.
    largest: usize,
    /// The number of cold visitors, if the store keeps sessions at the server.
    cold: Option<usize>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime can be built");
    let _entered = runtime.enter();
    let mut results = Results::open("stores");
    let redis = servers::start();
    let word = env::args().skip(1).find(|word| !word.starts_with('-'));
    let is_selected = |name: &str| {
        word.as_ref()
            .is_none_or(|word| name.contains(word.as_str()))
    };
    limits::measure(&mut results, servers::url(&redis).as_deref());
    for candidate in candidates(servers::url(&redis).as_deref()) {
        if is_selected(candidate.name) {
            println!("\n{}, ns of a request", candidate.name);
            measure_hot(&candidate, &mut results);
            measure_threads(&candidate, &mut results);
            measure_cold(&candidate, &mut results);
        }
    }
}

fn sessions(store: impl Store) -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), store).expect("the settings are valid")
}

/// Returns every store. Add new ones here.
fn candidates(redis: Option<&str>) -> Vec<Candidate> {
    let cold = env::var("STORES_COLD").map_or(1_000_000, |it| it.parse().expect("a number"));
    let candidate = |name, sessions, cold| Candidate {
        name,
        sessions,
        largest: usize::MAX,
        cold,
    };
    let mut all = vec![candidate(
        "memory",
        sessions(MemoryStore::new()),
        Some(cold),
    )];
    all.extend(files::stores().into_iter().map(|(name, sessions)| {
        let cold = (name != files::ALWAYS).then_some(cold);
        candidate(name, sessions, cold)
    }));
    for (name, sessions) in servers::stores(redis) {
        all.push(candidate(name, sessions, Some(cold / 10)));
    }
    all.push(Candidate {
        // More than 4 KB would need more cookies than browsers send.
        largest: Document::FlashHeavy.bytes(),
        ..candidate("cookie", sessions(CookieStore::new().max_chunks(3)), None)
    });
    all
}

#[cfg(all(feature = "file", unix))]
mod files {
    use std::time::Duration;

    use hyper_session::{
        Sessions,
        store::file::{Durability, FileStore},
    };

    pub(super) const ALWAYS: &str = "file, durability always";

    /// Opens stores in new temporary directories, which the system cleans up.
    pub(super) fn stores() -> Vec<(&'static str, Sessions)> {
        let folder = format!("hyper-session-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let kinds = [
            ("file, durability os", Durability::Os),
            (
                "file, durability interval",
                Durability::Interval(Duration::from_secs(1)),
            ),
            (ALWAYS, Durability::Always),
        ];
        let open = |(name, durability): (&'static str, Durability)| {
            let builder = FileStore::builder(folder.join(name)).durability(durability);
            let store = builder.open().expect("the temporary directory is writable");
            (name, super::sessions(store))
        };
        kinds.map(open).into()
    }
}

#[cfg(not(all(feature = "file", unix)))]
mod files {
    pub(super) const ALWAYS: &str = "";

    pub(super) fn stores() -> Vec<(&'static str, hyper_session::Sessions)> {
        Vec::new()
    }
}

#[cfg(feature = "redis")]
mod servers {
    use std::process::Command;

    use hyper_session::{Sessions, store::RedisStore};

    use crate::redis_servers::Server;

    /// Starts a server. Returns `None` if there is no `redis-server`.
    pub(super) fn start() -> Option<Server> {
        let version = Command::new("redis-server").arg("--version").output();
        if version.is_err() {
            println!("redis: skipped, since there is no redis-server");
            return None;
        }
        Some(Server::start())
    }

    pub(super) fn url(server: &Option<Server>) -> Option<String> {
        server.as_ref().map(Server::url)
    }

    pub(super) fn stores(url: Option<&str>) -> Vec<(&'static str, Sessions)> {
        let Some(url) = url else { return Vec::new() };
        let plain = RedisStore::builder(url)
            .build()
            .expect("the address is valid");
        let cached = RedisStore::builder(url).with_near_cache().build();
        let cached = cached.expect("the address is valid");
        vec![
            ("redis", super::sessions(plain)),
            ("redis, near cache", super::sessions(cached)),
        ]
    }
}

#[cfg(not(feature = "redis"))]
mod servers {
    /// A server that cannot exist without the feature `redis`.
    pub(super) enum Server {}

    pub(super) fn start() -> Option<Server> {
        println!("redis: skipped, since the feature `redis` is off");
        None
    }

    pub(super) fn url(_: &Option<Server>) -> Option<String> {
        None
    }

    pub(super) fn stores(_: Option<&str>) -> Vec<(&'static str, hyper_session::Sessions)> {
        Vec::new()
    }
}

/// Returns the net times of requests of one visitor.
fn measure_hot(candidate: &Candidate, results: &mut Results) {
    for document in Document::ALL {
        if document.bytes() > candidate.largest {
            continue;
        }
        let raw = time(support::raw(support::plain()));
        print!("  {:18}", document.label());
        for job in Job::ALL {
            let mut visitor = Visitor::new(&candidate.sessions, document);
            let net = time(|| visitor.send(job)) - raw;
            print!("  {} {net:.0}", job.label());
            results.add(
                &format!("{}, {}", job.label(), document.label()),
                candidate.name,
                "ns",
                net,
            );
        }
        println!();
    }
}

/// Measures two threads, each with a visitor of its own.
fn measure_threads(candidate: &Candidate, results: &mut Results) {
    const CALLS: u32 = 2000;
    for job in [Job::Read, Job::Increment] {
        let runtime = tokio::runtime::Handle::current();
        let round = || {
            let mut visitors =
                [(), ()].map(|()| Visitor::new(&candidate.sessions, Document::Login));
            let start = Instant::now();
            thread::scope(|scope| {
                for visitor in &mut visitors {
                    let runtime = runtime.clone();
                    scope.spawn(move || {
                        let _entered = runtime.enter();
                        (0..CALLS).for_each(|_| visitor.send(job));
                    });
                }
            });
            per_call(start.elapsed(), 2 * CALLS)
        };
        let figure = median((0..7).map(|_| round()).collect());
        println!("  two threads, {}, raw included: {figure:.0}", job.label());
        results.add(
            &format!("{}, two threads", job.label()),
            candidate.name,
            "ns",
            figure,
        );
    }
}

/// Measures visitors in turn, none of whom was seen recently.
fn measure_cold(candidate: &Candidate, results: &mut Results) {
    let Some(count) = candidate.cold else { return };
    let mut visitors: Vec<Visitor> = (0..count)
        .map(|_| Visitor::new(&candidate.sessions, Document::Login))
        .collect();
    let raw = time(support::raw(support::plain()));
    // A prime step visits them in an order that is not that of their creation.
    let mut next = 0;
    for job in [Job::Read, Job::Increment] {
        let net = time(|| {
            next = (next + 7919) % count;
            visitors[next].send(job);
        }) - raw;
        println!("  {count} cold visitors, {}: {net:.0}", job.label());
        results.add(
            &format!("{}, {count} cold visitors", job.label()),
            candidate.name,
            "ns",
            net,
        );
    }
}
