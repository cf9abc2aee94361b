//! Requests that change one session at once, and ten other visitors beside them.
//!
//! `cargo bench --features redis --bench hot_session` starts a `redis-server` of its own. It prints a
//! table for each store and change. A word after `--` selects the tables with that word in their name.
//! `FILE_BENCH_DIR` sets the directory of the file store (`target`). `BENCH_QUICK` makes the run short and its figures
//! unreliable.
//!
//! Each row is measured three times with at least 2,000 requests, after some that do not count. Each figure is the median.
//!
//! - calls: operations of the store, divided by the requests.
//! - commands: commands that Redis executed, those inside scripts included, divided by the requests.
//!   A single write is three commands. Other stores have none.
//! - p50, p99, slowest: times of the requests, from the moment at which all begin.
//! - others: the 99th percentile of ten visitors, each of whom increments a number in a session of
//!   their own every few milliseconds. They run in rounds that count for nothing else.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and stops at the first error"
)]

#[path = "../tests/support/redis_servers/mod.rs"]
mod redis_servers;
#[path = "support/results.rs"]
mod results;
#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use hyper::service::Service;
use hyper_session::{
    Session, SessionError, Sessions,
    id::StoreKey,
    session::CookiePolicy,
    store::{
        Capabilities, FileStore, MemoryStore, ReadOutcome, RedisStore, Store, StoreFuture,
        TagStore, WriteOutcome, WriteRequest, file::Durability,
    },
};
use redis_servers::Server;
use results::Results;
use support::{Body, COUNTER, Scratch, Size};
use tokio::{runtime::Runtime, sync::Barrier, task::JoinSet};

const WRITERS: [usize; 4] = [1, 10, 100, 1000];
const OTHERS: usize = 10;
/// The runs of a row. Each figure is the median of theirs.
const RUNS: usize = 3;
/// The time between two requests of another visitor.
const PAUSE: Duration = Duration::from_millis(2);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo test --benches` runs this without `--bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let folder = Scratch::new("hot-session");
    let file = |name: &str, durability: Durability| {
        let store = FileStore::builder(folder.path().join(name)).durability(durability);
        store.open().expect("a store")
    };
    let mut results = Results::open("hot_session");
    measure(&runtime, "memory", MemoryStore::new(), None, &mut results);
    let default = file("default", Durability::default());
    measure(&runtime, "file", default, None, &mut results);
    let always = file("always", Durability::Always);
    measure(&runtime, "file, always", always, None, &mut results);
    let version = Command::new(redis_servers::program())
        .arg("--version")
        .output();
    if version.is_err() {
        return results.skip("Redis: there is no redis-server");
    }
    let server = Server::start();
    let redis = runtime.block_on(RedisStore::connect(&server.url()));
    let redis = redis.expect("a server");
    measure(&runtime, "redis", redis, Some(&server), &mut results);
}

/// Prints the tables of one store.
fn measure(
    runtime: &Runtime,
    store_name: &str,
    store: impl Store,
    server: Option<&Server>,
    results: &mut Results,
) {
    let calls = Arc::new(AtomicU64::new(0));
    let store = CountingStore {
        inner: store,
        calls: Arc::clone(&calls),
    };
    let config = support::config(CookiePolicy::WhenUsed);
    let sessions = Sessions::new(config, store).expect("the configuration is valid");
    for change in [Change::Increment, Change::Mix] {
        let name = format!("{store_name}: {}", change.label());
        if !is_selected(&name) {
            continue;
        }
        println!("{name}");
        let heads: String = FIGURES.map(|(name, _)| format!(" {name:>11}")).concat();
        println!("{:>9}{heads}", "writers");
        for writers in WRITERS {
            let (rounds, runs) = match std::env::var_os("BENCH_QUICK") {
                None => (2000_usize.div_ceil(writers).max(5), RUNS),
                Some(_) => (2, 1),
            };
            let runs = (0..runs).map(|_| {
                run(
                    runtime,
                    &sessions,
                    &calls,
                    server,
                    (change, writers, rounds),
                )
            });
            let runs: Vec<Run> = runs.collect();
            let row = format!("{}: {writers}", change.label());
            print!("{writers:>9}");
            for (unit, figure) in FIGURES {
                let value = median(runs.iter().map(figure).collect());
                print!(" {value:>11.2}");
                results.add(&row, store_name, unit, value);
            }
            println!();
        }
    }
}

/// A column of the tables: its name, and its figure of a run.
type Column = (&'static str, fn(&Run) -> f64);

const FIGURES: [Column; 6] = [
    ("calls", |it| it.calls),
    ("commands", |it| it.commands),
    ("p50, ms", |it| millis(&it.times, 50)),
    ("p99, ms", |it| millis(&it.times, 99)),
    ("slowest, ms", |it| millis(&it.times, 100)),
    ("others, ms", |it| millis(&it.beside, 99)),
];

/// The figures of one run of a row.
struct Run {
    calls: f64,
    commands: f64,
    /// The sorted times of the writers, and of the other visitors.
    times: Vec<Duration>,
    beside: Vec<Duration>,
}

/// Sends the rounds of a row, after a tenth of them that does not count.
fn run(
    runtime: &Runtime,
    sessions: &Sessions,
    calls: &AtomicU64,
    server: Option<&Server>,
    (change, writers, rounds): (Change, usize, usize),
) -> Run {
    let requests = (rounds * writers) as f64;
    let visitor = Visitor::new(sessions);
    let others = [(); OTHERS].map(|()| Visitor::new(sessions));
    runtime.block_on(send_rounds(&visitor, change, writers, rounds.div_ceil(10)));
    let before = (calls.load(Relaxed), count_commands(server));
    let times = runtime.block_on(send_rounds(&visitor, change, writers, rounds));
    let calls = (calls.load(Relaxed) - before.0) as f64 / requests;
    let commands = (count_commands(server) - before.1) as f64 / requests;
    let beside = runtime.block_on(send_beside(&visitor, change, writers, rounds, others));
    Run {
        calls,
        commands,
        times,
        beside,
    }
}

/// Returns `true` if the command line selects this table; without arguments it selects all.
fn is_selected(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    words.next().is_none_or(|word| name.contains(&word))
}

/// Returns a percentile of sorted times.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Returns a percentile of sorted times in ms.
fn millis(times: &[Duration], percent: usize) -> f64 {
    percentile(times, percent).as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the number of commands that the server has executed.
fn count_commands(server: Option<&Server>) -> u64 {
    let stats = server.map(|server| server.send(&["INFO", "commandstats"]));
    let stats = stats.unwrap_or_default();
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse::<u64>().ok()?;
        (name != "info").then_some(calls)
    });
    calls.sum()
}

/// What a request changes.
#[derive(Clone, Copy)]
enum Change {
    Increment,
    /// A put, a flash message or a tag, in turn.
    Mix,
}

impl Change {
    const fn label(self) -> &'static str {
        match self {
            Self::Increment => "increment",
            Self::Mix => "mix",
        }
    }

    fn apply(self, session: &Session, number: usize) -> Result<(), SessionError> {
        let name = format!("entry-{}", number % 24);
        match (self, number % 3) {
            (Self::Increment, _) => session.increment(COUNTER).map(drop),
            (Self::Mix, 0) => session.put(["cart_of_writers", &name], number),
            (Self::Mix, 1) => session.flash([name.as_str()], number),
            (Self::Mix, _) => session.tag(&name),
        }
    }
}

/// A visitor with a session of 260 bytes.
#[derive(Clone)]
struct Visitor {
    sessions: Sessions,
    cookie: String,
}

impl Visitor {
    fn new(sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            cookie: support::seed(sessions, Size::Small),
        }
    }

    /// Sends one request, and returns the time that it took. Between the load and the change, the
    /// handler lets others run, as a handler with I/O of its own does.
    async fn send(&self, change: Change, number: usize) -> Duration {
        let handler = move |_, session: Session| async move {
            let session = session.load().await?;
            tokio::task::yield_now().await;
            change.apply(session, number)?;
            Ok::<_, SessionError>(http::Response::new(Body::default()))
        };
        let request = support::with_cookie(&self.cookie);
        let began = Instant::now();
        let response = self.sessions.wrap_fn(handler).call(request).await;
        let took = began.elapsed();
        let status = response.expect("the session can be changed").status();
        assert_eq!(status, StatusCode::OK, "the changes are stored");
        took
    }
}

/// Sends one request of each writer at once, some rounds. Returns the sorted times.
async fn send_rounds(
    visitor: &Visitor,
    change: Change,
    writers: usize,
    rounds: usize,
) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Arc::new(Barrier::new(writers));
        let mut running = JoinSet::new();
        for number in 0..writers {
            let (visitor, start) = (visitor.clone(), Arc::clone(&start));
            running.spawn(async move {
                start.wait().await;
                visitor.send(change, number).await
            });
        }
        times.extend(running.join_all().await);
    }
    times.sort_unstable();
    times
}

/// Sends the requests of [`send_rounds`] and of other visitors meanwhile. Returns the sorted times of the
/// others.
async fn send_beside(
    visitor: &Visitor,
    change: Change,
    writers: usize,
    rounds: usize,
    others: [Visitor; OTHERS],
) -> Vec<Duration> {
    let ended = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for other in others {
        let ended = Arc::clone(&ended);
        running.spawn(async move {
            let mut times = Vec::new();
            while !ended.load(Relaxed) {
                times.push(other.send(Change::Increment, 0).await);
                tokio::time::sleep(PAUSE).await;
            }
            times
        });
    }
    send_rounds(visitor, change, writers, rounds).await;
    ended.store(true, Relaxed);
    let mut times = running.join_all().await.concat();
    times.sort_unstable();
    times
}

/// A store that counts its operations.
struct CountingStore<S> {
    inner: S,
    calls: Arc<AtomicU64>,
}

impl<S> CountingStore<S> {
    fn count_call(&self) -> &S {
        self.calls.fetch_add(1, Relaxed);
        &self.inner
    }
}

impl<S: Store> Store for CountingStore<S> {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.count_call().read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.count_call().write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.count_call().destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.count_call().touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.inner.tags()
    }
}
