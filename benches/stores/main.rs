//! The same session requests on every store, beside what the machine can do.
//!
//! `cargo bench --features redis --bench stores`. A word after `--` selects the stores with that word in their
//! name. With the feature `redis`, the bench starts a `redis-server` on a free port. `STORES_COLD` is the number of cold
//! visitors (default 1,000,000; a tenth on Redis). `BENCH_RESULTS` names a file for the results.
//!
//! `FILE_BENCH_DIR` sets the directory of the files (`target`).
//!
//! Each figure has a new store with room for all sessions. The figures are net: the time of the same requests to a service without
//! sessions is subtracted, and the time in which the visitor takes the cookies of the response. A visitor's requests run
//! one after the other, so the figures of Redis are round-trip times; `benches/redis.rs` measures concurrent
//! requests. With two threads, each has a visitor of its own, and the figure is the wall time divided by the calls of both.

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

use std::{env, hint::black_box};

use documents::Document;
use hyper_session::{
    Sessions,
    cookie::{CookieName, Finder},
    session::CookiePolicy,
    store::{CookieStore, MemoryStore, Store},
};
use limits::{Limits, Load};
use mimalloc::MiMalloc;
use results::Results;
use support::Scratch;
use timing::{time, time_pair};
use visitor::{Job, Visitor};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A prime, so that visitors come in an order that is not that of their creation.
const STEP: usize = 7919;

/// A store with its name in the report.
struct Candidate<'a> {
    name: &'static str,
    /// Opens an empty store.
    open: Box<dyn Fn() -> Sessions + 'a>,
    /// The largest document that it holds.
    largest: usize,
    /// The number of cold visitors.
    cold: Option<usize>,
    /// A visitor who returns after all others is as cold as the first time, since no cache holds as many.
    can_repeat: bool,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime can be built");
    let _entered = runtime.enter();
    let mut results = Results::open("stores");
    let redis = servers::start(&mut results);
    let word = env::args().skip(1).find(|word| !word.starts_with('-'));
    let is_selected = |name: &str| {
        word.as_ref()
            .is_none_or(|word| name.contains(word.as_str()))
    };
    if is_selected("cookie scan") {
        measure_scan(&mut results);
    }
    let limits = Limits::measure(servers::url(&redis).as_deref());
    let folder = Scratch::new("stores");
    for candidate in candidates(&folder, &redis) {
        if is_selected(candidate.name) {
            println!("\n{}, ns of a request", candidate.name);
            let mut report = Report {
                candidate: &candidate,
                limits: &limits,
                results: &mut results,
            };
            measure_hot(&mut report);
            measure_threads(&mut report);
            measure_cold(&mut report);
        }
    }
}

/// Measures the search of the session's cookie, beside one search in the same line.
fn measure_scan(results: &mut Results) {
    let line = format!("{}; session=1", "name=0123456789abcdef; ".repeat(16));
    let name = CookieName::new("session").expect("the name is valid");
    let finder = Finder::new(&name);
    let ours = time(|| {
        black_box(finder.find_in(black_box(line.as_bytes())).next());
    });
    let bare = memchr::memmem::Finder::new("session=");
    let limit = time(|| {
        black_box(bare.find(black_box(line.as_bytes())));
    });
    println!("cookie scan in 400 B, ns: {ours:.0}, memmem {limit:.0}");
    let row = "cookie scan, 400 B";
    results.add(row, "scan", "ns", ours);
    results.add(row, "limit of scan: memchr::memmem", "ns", limit);
}

fn sessions(store: impl Store) -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), store).expect("the settings are valid")
}

/// Returns every store. Add new ones here.
fn candidates<'a>(folder: &'a Scratch, redis: &'a Option<servers::Server>) -> Vec<Candidate<'a>> {
    let cold = env::var("STORES_COLD").map_or(1_000_000, |it| it.parse().expect("a number"));
    let memory = move || {
        // Has room for all sessions. A larger limit would give it more partitions than stores have.
        let store = MemoryStore::builder().max_records(cold.max(1_000_000) as u64);
        sessions(store.max_bytes(u64::MAX).build())
    };
    let mut all = vec![Candidate {
        name: "memory",
        open: Box::new(memory),
        largest: usize::MAX,
        cold: Some(cold),
        can_repeat: true,
    }];
    all.extend(files::candidates(folder, cold));
    all.extend(servers::candidates(redis, cold / 10));
    all.push(Candidate {
        name: "cookie",
        open: Box::new(|| sessions(CookieStore::new().max_chunks(3))),
        // More than 4 KB would need more cookies than browsers send.
        largest: Document::FlashHeavy.bytes(),
        cold: Some(cold / 10),
        can_repeat: true,
    });
    all
}

#[cfg(all(feature = "file", unix))]
mod files {
    use std::{cell::Cell, time::Duration};

    use hyper_session::store::file::{Durability, FileStore};

    use crate::{Candidate, support::Scratch};

    pub(super) fn candidates(folder: &Scratch, cold: usize) -> Vec<Candidate<'_>> {
        let interval = Durability::Interval(Duration::from_secs(1));
        let kinds = [
            ("file, durability os", Durability::Os, Some(cold)),
            ("file, durability interval", interval, Some(cold)),
            // A million synced creations would take minutes.
            ("file, durability always", Durability::Always, None),
        ];
        let candidate = |(name, durability, cold)| {
            let number = Cell::new(0);
            let open = move || {
                number.set(number.get() + 1);
                let folder = folder.path().join(format!("{name} {}", number.get()));
                let store = FileStore::builder(folder).durability(durability).open();
                crate::sessions(store.expect("the directory is writable"))
            };
            Candidate {
                name,
                open: Box::new(open),
                largest: usize::MAX,
                cold,
                can_repeat: false,
            }
        };
        kinds.map(candidate).into()
    }
}

#[cfg(not(all(feature = "file", unix)))]
mod files {
    use crate::{Candidate, support::Scratch};

    pub(super) fn candidates(_: &Scratch, _: usize) -> Vec<Candidate<'_>> {
        Vec::new()
    }
}

#[cfg(feature = "redis")]
mod servers {
    use std::process::Command;

    use hyper_session::store::RedisStore;

    pub(super) use crate::redis_servers::Server;
    use crate::{Candidate, redis_servers, results::Results};

    const VALID: &str = "the address is valid";

    /// Starts a server. Returns `None` if there is no `redis-server`.
    pub(super) fn start(results: &mut Results) -> Option<Server> {
        let version = Command::new(redis_servers::program())
            .arg("--version")
            .output();
        if version.is_err() {
            results.skip("Redis: there is no redis-server");
            return None;
        }
        Some(Server::start())
    }

    pub(super) fn url(server: &Option<Server>) -> Option<String> {
        server.as_ref().map(Server::url)
    }

    pub(super) fn candidates(server: &Option<Server>, cold: usize) -> Vec<Candidate<'_>> {
        let Some(server) = server else {
            return Vec::new();
        };
        let candidate = |(name, with_cache)| {
            let open = move || {
                server.send(&["FLUSHALL"]);
                let builder = RedisStore::builder(&server.url());
                match with_cache {
                    true => crate::sessions(builder.with_near_cache().build().expect(VALID)),
                    false => crate::sessions(builder.build().expect(VALID)),
                }
            };
            Candidate {
                name,
                open: Box::new(open),
                largest: usize::MAX,
                cold: Some(cold),
                can_repeat: false,
            }
        };
        [("redis", false), ("redis, near cache", true)]
            .map(candidate)
            .into()
    }
}

#[cfg(not(feature = "redis"))]
mod servers {
    use crate::{Candidate, results::Results};

    /// A server that cannot exist without the feature `redis`.
    pub(super) enum Server {}

    pub(super) fn start(results: &mut Results) -> Option<Server> {
        results.skip("Redis: the feature `redis` is off");
        None
    }

    pub(super) fn url(_: &Option<Server>) -> Option<String> {
        None
    }

    pub(super) fn candidates(_: &Option<Server>, _: usize) -> Vec<Candidate<'_>> {
        Vec::new()
    }
}

/// Where the figures of one store go.
struct Report<'a> {
    candidate: &'a Candidate<'a>,
    limits: &'a Limits,
    results: &'a mut Results,
}

impl Report<'_> {
    /// Prints and records a figure, and its limit beside it.
    fn add(&mut self, job: Job, kind: &str, net: f64, limit: Option<(&str, f64)>) {
        let name = self.candidate.name;
        let row = format!("{}, {kind}", job.label());
        print!("  {row:44} {net:8.0}");
        self.results.add(&row, name, "ns", net);
        if let Some((limit, time)) = limit {
            print!("  {limit}: {time:.0}");
            let contender = format!("limit of {name}: {limit}");
            self.results.add(&row, &contender, "ns", time);
        }
        println!();
    }
}

/// Returns a function that sends the requests of a job and follows their cookies.
fn sender(sessions: &Sessions, job: Job, document: Document) -> impl Fn(&mut Visitor) + Sync {
    let client = visitor::client(sessions, job, document);
    let create = visitor::client(sessions, Job::Create, document);
    move |visitor| {
        let headers = client.send(visitor);
        match job {
            Job::Destroy => visitor.follow(&create.send(visitor)),
            // A creation is the first request of a visitor who does not return.
            Job::Create => {}
            Job::Read | Job::Increment | Job::Regenerate => visitor.follow(&headers),
        }
    }
}

/// Returns the time of the same requests without sessions, and of following the cookies.
fn own_time(sessions: &Sessions, job: Job, document: Document, visitors: &mut [Visitor]) -> f64 {
    let raw = visitor::raw_client(job);
    let mut next = 0;
    let count = visitors.len();
    let requests = time(|| {
        next = (next + STEP) % count;
        drop(raw.send(&visitors[next]));
    });
    let create = visitor::raw_client(Job::Create);
    match job {
        Job::Create => requests,
        Job::Destroy => {
            let set = visitor::client(sessions, Job::Create, document).send(&visitors[0]);
            let follow = time(|| visitors[0].follow(&set));
            requests + follow + time(|| drop(create.send(&visitors[0])))
        }
        Job::Read | Job::Increment | Job::Regenerate => {
            let set = visitor::client(sessions, job, document).send(&visitors[0]);
            requests + time(|| visitors[0].follow(&set))
        }
    }
}

/// Measures one visitor.
fn measure_hot(report: &mut Report<'_>) {
    for document in Document::ALL {
        if document.bytes() > report.candidate.largest {
            continue;
        }
        for job in Job::ALL {
            let sessions = (report.candidate.open)();
            let mut visitors = [Visitor::new(&sessions, document)];
            let own = own_time(&sessions, job, document, &mut visitors);
            let send = sender(&sessions, job, document);
            let net = time(|| send(&mut visitors[0])) - own;
            let limit = report
                .limits
                .of(report.candidate.name, job, document, Load::Hot);
            report.add(job, document.label(), net, limit);
        }
    }
}

/// Measures two threads, each with a visitor, a service and a request of its own, as connections have them. Threads
/// that clone one request would wait for its reference counts.
fn measure_threads(report: &mut Report<'_>) {
    let document = Document::Login;
    for job in Job::ALL {
        let sessions = (report.candidate.open)();
        let mut threads = [(), ()].map(|()| {
            let visitor = Visitor::new(&sessions, document);
            (visitor, sender(&sessions, job, document))
        });
        let visitor = &mut threads[0].0;
        let own = own_time(&sessions, job, document, std::slice::from_mut(visitor)) / 2.0;
        let calls = threads
            .each_mut()
            .map(|(visitor, send)| move || move || send(visitor));
        let net = time_pair(calls) - own;
        let limit = report
            .limits
            .of(report.candidate.name, job, document, Load::TwoThreads);
        report.add(job, "login, 260 B, two threads", net, limit);
    }
}

/// Measures visitors in turn, none of whom was seen recently.
fn measure_cold(report: &mut Report<'_>) {
    let document = Document::Login;
    let Some(count) = report.candidate.cold else {
        return;
    };
    let sessions = (report.candidate.open)();
    let create = visitor::client(&sessions, Job::Create, document);
    let mut visitors: Vec<Visitor> = (0..count).map(|_| Visitor::created_by(&create)).collect();
    // The second job continues after the first one, whose visitors are in the caches.
    let (mut next, mut visits) = (0, 0);
    for job in [Job::Read, Job::Increment] {
        let own = own_time(&sessions, job, document, &mut visitors);
        let send = sender(&sessions, job, document);
        let net = time(|| {
            next = (next + STEP) % count;
            visits += 1;
            send(&mut visitors[next]);
        }) - own;
        let limit = report
            .limits
            .of(report.candidate.name, job, document, Load::Cold);
        report.add(job, &format!("{count} cold visitors"), net, limit);
    }
    assert!(
        visits <= count || report.candidate.can_repeat || env::var_os("BENCH_QUICK").is_some(),
        "{visits} visits of {count} visitors: a visitor came twice; raise STORES_COLD"
    );
}
