//! Measures the Redis store: its near cache, and what sessions and requests cost the server.
//!
//! `cargo bench --features redis --bench redis` starts a `redis-server` of its own, and a cluster of three
//! masters. A number after `--` is the number of sessions that they hold meanwhile (100,000). `benches/compare` compares the store with
//! other clients of Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints and has no caller that handles errors"
)]

#[path = "../tests/support/redis_servers/mod.rs"]
mod redis_servers;
#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Response, header::SET_COOKIE};
use hyper::service::Service;
use hyper_session::{
    Session, SessionError, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    session::CookiePolicy,
    store::{Expected, MemoryStore, RedisStore, Store, WriteOutcome, WriteRequest},
};
use redis_servers::{
    Server,
    groups::Cluster,
    sessions::{key, tags},
};
use support::{Body, COUNTER, Size};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);
const ROUNDS: usize = 7;

/// The number of requests of each kind.
const REQUESTS: usize = 1_024;

/// The number of tasks that fill the server.
const FILLERS: usize = 256;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo test --benches` runs this without `--bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if Command::new("redis-server")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("redis: redis-server not found; nothing was measured");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        compare_hot_read().await;
        measure_memory().await;
        let server = Server::start();
        let url = server.url();
        measure_requests("one server", &url, &[server]).await;
        let cluster = Cluster::start_with_replicas(0);
        measure_requests("cluster", &cluster.url(), &cluster.0).await;
    });
}

/// Returns the number of sessions on the command line.
fn session_count() -> usize {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    numbers.next().unwrap_or(100_000)
}

/// Compares reads from the near cache with reads from the memory store.
async fn compare_hot_read() {
    let server = Server::start();
    let memory = MemoryStore::new();
    let cached = RedisStore::builder(&server.url()).with_near_cache();
    let cached = cached.connect().await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..100 {
        let (key, data) = (key(), Bytes::from(vec![7; 256]));
        let request = WriteRequest::new(&key, data, HOUR, Expected::Any);
        memory.write(request.clone()).await.unwrap();
        cached.write(request).await.unwrap();
        keys.push(key);
    }
    while cached.cache_stats().entries < keys.len() {
        for key in &keys {
            cached.read(key, None).await.unwrap();
        }
    }
    let (mut ratios, mut last) = (Vec::new(), (0.0, 0.0));
    for _ in 0..ROUNDS {
        last = (
            read_nanos(&memory, &keys).await,
            read_nanos(&cached, &keys).await,
        );
        ratios.push(last.1 / last.0);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "hot read: {:.2} times the memory store's (last round: {:.0} and {:.0} ns)",
        ratios[ROUNDS / 2],
        last.1,
        last.0
    );
}

async fn read_nanos(store: &impl Store, keys: &[hyper_session::id::StoreKey]) -> f64 {
    const TIMES: usize = 2_000;
    let start = Instant::now();
    for _ in 0..TIMES {
        for key in keys {
            black_box(store.read(key, None).await.unwrap());
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / (TIMES * keys.len()) as f64
}

/// Prints the memory that a session needs in the server, measured on many sessions.
async fn measure_memory() {
    let count = session_count();
    for (name, size, users) in [
        ("small, 256 B", 256, false),
        ("cart, 1 KB", 1_024, false),
        ("4 KB", 4_096, false),
        ("256 B with the tag of a user", 256, true),
    ] {
        let server = Server::start();
        let store = RedisStore::connect(&server.url()).await.unwrap();
        let before = server.info("memory", "used_memory");
        let (took, start) = (fill(&store, count, size, users), Instant::now());
        took.await;
        let bytes = (server.info("memory", "used_memory") - before) as f64 / count as f64;
        println!(
            "{count} sessions of {name}: {bytes:.0} bytes each, {:.0} sessions written a second",
            count as f64 / start.elapsed().as_secs_f64()
        );
    }
}

/// Stores sessions with this much data. Each has a tag of its own if `users` is set.
async fn fill(store: &RedisStore, count: usize, size: usize, users: bool) {
    let mut tasks = JoinSet::new();
    for task in 0..FILLERS {
        let (store, data) = (store.clone(), Bytes::from(vec![7; size]));
        tasks.spawn(async move {
            for number in (task..count).step_by(FILLERS) {
                let request = WriteRequest::new(&key(), data.clone(), 24 * HOUR, Expected::Absent);
                let request = match users {
                    true => request.tags(tags(&[&format!("user:{number}")])),
                    false => request,
                };
                let written = store.write(request).await;
                assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
            }
        });
    }
    tasks.join_all().await;
}

/// A kind of request.
#[derive(Clone, Copy, Debug)]
enum Job {
    Ignore,
    First,
    Read,
    Renew,
    Change,
    LogIn,
    ReadAsUser,
    ChangeAsUser,
    Regenerate,
    LogOut,
    FirstAsUser,
}

impl Job {
    const ALL: [Self; 11] = [
        Self::First,
        Self::Ignore,
        Self::Read,
        Self::Renew,
        Self::Change,
        Self::LogIn,
        Self::ReadAsUser,
        Self::ChangeAsUser,
        Self::Regenerate,
        Self::LogOut,
        Self::FirstAsUser,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::First => "first request that stores data",
            Self::Ignore => "session not used",
            Self::Read | Self::ReadAsUser => "reads",
            Self::Renew => "not used, renewal is due",
            Self::Change | Self::ChangeAsUser => "reads and writes",
            Self::LogIn => "signs in: new id, tag of the user",
            Self::Regenerate => "new id, keeps the tag",
            Self::LogOut => "signs out",
            Self::FirstAsUser => "first request that stores data and a tag",
        }
    }

    async fn run(self, session: Session, number: usize) -> Result<(), SessionError> {
        if let Self::Ignore | Self::Renew = self {
            return Ok(());
        }
        let session = session.load().await?;
        match self {
            Self::First | Self::FirstAsUser => {
                for (name, value) in Size::Small.members() {
                    session.put(name, value)?;
                }
                if let Self::FirstAsUser = self {
                    session.tag(&format!("user:{number}"))?;
                }
            }
            Self::Change | Self::ChangeAsUser => drop(session.increment(COUNTER)?),
            Self::LogIn => {
                session.regenerate()?;
                session.tag(&format!("user:{number}"))?;
            }
            Self::Regenerate => session.regenerate()?,
            Self::LogOut => session.destroy()?,
            _ => assert!(session.get::<i64>(COUNTER)?.is_some()),
        }
        Ok(())
    }
}

/// Prints the commands, the bytes and the server time of each kind of request, on servers with many sessions.
async fn measure_requests(place: &str, url: &str, servers: &[Server]) {
    let store = RedisStore::connect(url).await.unwrap();
    fill(&store, session_count(), 256, false).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let clock = Clock::manual(Timestamp::from_millis(now.unwrap().as_millis() as u64));
    let config = support::config(CookiePolicy::WhenUsed).store("redis");
    let sessions = Sessions::builder(config)
        .stores(StoreRegistry::new().register("redis", store))
        .clock(clock.clone())
        .build()
        .unwrap();
    for tasks in [1, 64] {
        println!("{place}, requests of {tasks} at a time");
        let mut cookies = vec![String::new(); REQUESTS];
        for job in Job::ALL {
            match job {
                Job::Renew => clock.advance(Duration::from_secs(600)),
                Job::FirstAsUser => cookies.fill(String::new()),
                _ => {}
            }
            let before = usage(servers);
            cookies = send_all(&sessions, job, cookies, tasks).await;
            let after = usage(servers);
            let each = |at: usize| (after[at] - before[at]) / REQUESTS as f64;
            println!(
                "{:41} {:5.2} messages, {:5.2} commands, {:5.0} bytes sent, {:5.0} received, \
                 {:5.1} us in the servers",
                job.label(),
                each(0),
                each(1),
                each(2),
                each(3),
                each(4)
            );
        }
    }
}

/// Sends one request of each session, so many at a time. Returns the new cookies.
async fn send_all(
    sessions: &Sessions,
    job: Job,
    cookies: Vec<String>,
    tasks: usize,
) -> Vec<String> {
    let numbered: Vec<_> = cookies.into_iter().enumerate().collect();
    let mut running = JoinSet::new();
    for part in numbered.chunks(REQUESTS / tasks) {
        let (sessions, part) = (sessions.clone(), part.to_vec());
        running.spawn(async move {
            let mut done = Vec::new();
            for (number, cookie) in part {
                done.push((number, send(&sessions, job, number, cookie).await));
            }
            done
        });
    }
    let mut done = running.join_all().await.concat();
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, cookie)| cookie).collect()
}

async fn send(sessions: &Sessions, job: Job, number: usize, cookie: String) -> String {
    let service = sessions.wrap_fn(move |_, session: Session| async move {
        job.run(session, number).await?;
        Ok::<_, SessionError>(Response::new(Body::default()))
    });
    let request = match cookie.is_empty() {
        true => support::plain(),
        false => support::with_cookie(&cookie),
    };
    let response = service.call(request).await.unwrap();
    assert!(response.status().is_success(), "{job:?}: {response:?}");
    let set = response.headers().get(SET_COOKIE);
    set.map_or(cookie, |set| {
        let pair = set.to_str().unwrap().split(';').next();
        pair.unwrap().to_owned()
    })
}

/// Returns the messages that the servers have read, the commands that they have executed, those in scripts
/// included, the bytes in and out, and the processor time in microseconds.
fn usage(servers: &[Server]) -> [f64; 5] {
    let mut sum = [0.0; 5];
    for server in servers {
        let parts = usage_of(server);
        sum.iter_mut()
            .zip(parts)
            .for_each(|(sum, part)| *sum += part);
    }
    sum
}

fn usage_of(server: &Server) -> [f64; 5] {
    let info = server.send(&["INFO", "cpu"]);
    let cpu = info.lines().filter_map(|line| {
        let (name, seconds) = line.split_once(':')?;
        let is_total = ["used_cpu_sys", "used_cpu_user"].contains(&name);
        is_total.then(|| seconds.trim().parse::<f64>().unwrap())
    });
    let stats = [
        "total_reads_processed",
        "total_commands_processed",
        "total_net_input_bytes",
        "total_net_output_bytes",
    ];
    let [messages, commands, sent, received] = stats.map(|name| server.info("stats", name) as f64);
    [messages, commands, sent, received, cpu.sum::<f64>() * 1e6]
}
