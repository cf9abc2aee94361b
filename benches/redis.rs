//! The Redis store beside the bare client under it, and its local copies beside the memory store.
//!
//! `cargo bench --features redis --bench redis` starts a `redis-server` of its own. The bare side is
//! the client's own typed `get` and `set`, which it pipelines; and `EVALSHA` of the shortest script
//! that compares and sets, since Redis 7 has no command for it. All sides take turns. What counts is
//! their ratio, and the processor time that an operation takes on each side of the socket, which
//! other work on the machine changes less. A word behind `--` picks those with it in their name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and has nobody to report to"
)]

#[path = "../tests/support/redis_servers/mod.rs"]
mod redis_servers;

use std::{
    hint::black_box,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::{
    clients::Pool,
    interfaces::{ClientLike, KeysInterface},
    types::{Builder, ClusterHash, CustomCommand, Expiration, RespVersion, Value, config::Config},
};
use hyper_session::{
    id::StoreKey,
    store::{Expected, MemoryStore, ReadOutcome, RedisStore, Store, Version, WriteOutcome},
};
use redis_servers::{Server, sessions::key};

const POOL: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if Command::new("redis-server")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("redis: there is no redis-server here, so nothing was measured");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let server = Arc::new(Server::start());
    let sides = Sides::new(&server).await;
    println!("record of 256 bytes, pool of {POOL}, {ROUNDS} rounds of {ROUND:?} each in turn");
    server.send(&["SCRIPT", "LOAD", COMPARE_AND_SET]);
    for tasks in [1, 16, 256] {
        for (name, bare, ours) in [
            ("read to GET", Work::Get, Work::Read),
            ("commit to SET", Work::Set, Work::Write),
            ("commit to EVALSHA", Work::Eval, Work::Write),
        ] {
            let name = format!("{name}, {tasks} tasks");
            if wanted(&name) {
                compare(&name, tasks, bare, ours, &sides).await;
            }
        }
    }
    if wanted("hot read") {
        hot_read(&server).await;
    }
}

/// Whether this is to be measured: all is, unless the command line names a part of what is.
fn wanted(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    parts.next().is_none_or(|part| name.contains(&part))
}

/// What a version check costs the server at the very least.
const COMPARE_AND_SET: &str = "\
    if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return redis.call('GET', KEYS[1]) end \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) \
    return 1";

#[derive(Clone)]
struct Sides {
    bare: Pool,
    store: RedisStore,
    digest: Bytes,
    server: Arc<Server>,
}

#[derive(Clone, Copy)]
enum Work {
    Get,
    Set,
    Eval,
    Read,
    Write,
}

/// What a task works on, of its own.
struct Place {
    key: StoreKey,
    name: Bytes,
    data: Bytes,
    version: Version,
}

impl Sides {
    async fn new(server: &Arc<Server>) -> Self {
        let mut config = Config::from_url(&server.url()).unwrap();
        config.version = RespVersion::RESP3;
        let bare = Builder::from_config(config).build_pool(POOL).unwrap();
        bare.init().await.unwrap();
        let builder = RedisStore::builder(&server.url()).pool_size(POOL);
        let store = builder.connect().await.unwrap();
        let digest = fred::util::sha1_hash(COMPARE_AND_SET).into();
        let server = Arc::clone(server);
        Self {
            bare,
            store,
            digest,
            server,
        }
    }

    async fn place(&self) -> Place {
        let (key, data) = (key(), Bytes::from(vec![7; 256]));
        let name = Bytes::from(format!("bare:{key}"));
        self.set(&name, &data).await;
        let written = self
            .store
            .write(&key, data.clone(), HOUR, Expected::Absent)
            .await;
        let Ok(WriteOutcome::Done(version)) = written else {
            unreachable!("a new key has no record")
        };
        Place {
            key,
            name,
            data,
            version,
        }
    }

    async fn set(&self, name: &Bytes, data: &Bytes) {
        let (name, data) = (fred::types::Key::from(name.clone()), data.clone());
        let life = Some(Expiration::EX(3600));
        let set = self.bare.next().set(name, data, life, None, false);
        let _: () = set.await.unwrap();
    }

    async fn compare_and_set(&self, name: &Bytes, data: &Bytes) {
        let [one, life] = [&b"1"[..], b"3600000"].map(Bytes::from_static);
        let version = data.slice(..8);
        let args = [&self.digest, &one, name, &version, data, &life].map(Bytes::clone);
        let command = CustomCommand::new_static("EVALSHA", ClusterHash::FirstKey, false);
        let done: i64 = self
            .bare
            .next()
            .custom(command, args.to_vec())
            .await
            .unwrap();
        assert_eq!(done, 1);
    }

    async fn work(&self, work: Work, place: &mut Place) {
        match work {
            Work::Get => {
                let name = fred::types::Key::from(place.name.clone());
                let value: Value = self.bare.next().get(name).await.unwrap();
                assert!(black_box(value).into_bytes().is_some());
            }
            Work::Set => self.set(&place.name, &place.data).await,
            Work::Eval => self.compare_and_set(&place.name, &place.data).await,
            Work::Read => {
                let read = self.store.read(&place.key, None).await.unwrap();
                assert!(matches!(black_box(read), ReadOutcome::Found(_)));
            }
            Work::Write => {
                let expected = Expected::Version(place.version);
                let write = self
                    .store
                    .write(&place.key, place.data.clone(), HOUR, expected);
                let WriteOutcome::Done(version) = write.await.unwrap() else {
                    unreachable!("nobody else writes")
                };
                place.version = version;
            }
        }
    }
}

/// One side's round.
#[derive(Clone, Copy)]
struct Round {
    /// Operations a second.
    rate: f64,
    /// The 99th percentile, in microseconds.
    p99: f64,
    /// Processor time of this process for an operation, in microseconds, and of the server.
    cpu: [f64; 2],
}

async fn round(sides: &Sides, work: Work, tasks: usize) -> Round {
    let mut places = Vec::new();
    for _ in 0..tasks {
        places.push(sides.place().await);
    }
    let (cpu, start) = (cpu(&sides.server), Instant::now());
    let running: Vec<_> = places
        .into_iter()
        .map(|mut place| {
            let sides = sides.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < ROUND {
                    let one = Instant::now();
                    sides.work(work, &mut place).await;
                    times.push(one.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.unwrap());
    }
    finished(times, start.elapsed(), cpu, &sides.server)
}

fn finished(mut times: Vec<Duration>, took: Duration, before: [f64; 2], server: &Server) -> Round {
    let ([mine, its], count) = (cpu(server), times.len() as f64);
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    Round {
        rate: count / took.as_secs_f64(),
        p99: p99.as_secs_f64() * 1e6,
        cpu: [(mine - before[0]) / count, (its - before[1]) / count],
    }
}

/// The processor time that this process and the server have taken so far, in microseconds.
fn cpu(server: &Server) -> [f64; 2] {
    let mine = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let info = server.send(&["INFO", "cpu"]);
    let used = info.lines().filter_map(|line| {
        let (name, seconds) = line.split_once(':')?;
        let own = ["used_cpu_sys", "used_cpu_user"].contains(&name);
        own.then(|| seconds.trim().parse::<f64>().unwrap())
    });
    [
        mine.tv_sec as f64 * 1e6 + mine.tv_nsec as f64 / 1e3,
        used.sum::<f64>() * 1e6,
    ]
}

async fn compare(what: &str, tasks: usize, bare: Work, ours: Work, sides: &Sides) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push([
            round(sides, bare, tasks).await,
            round(sides, ours, tasks).await,
        ]);
    }
    let ratio = |of: fn(&Round) -> f64| {
        median(
            rounds
                .iter()
                .map(|[bare, ours]| of(ours) / of(bare))
                .collect(),
        )
    };
    let middle = |side: usize, of: fn(&Round) -> f64| {
        median(rounds.iter().map(|round| of(&round[side])).collect())
    };
    println!(
        "{what:28} {:.2} of its rate, p99 {:.2} of its p99, cpu {:.2} of its cpu",
        ratio(|round| round.rate),
        ratio(|round| round.p99),
        ratio(|round| round.cpu[0] + round.cpu[1]),
    );
    for (name, side) in [("  bare fred", 0), ("  the store", 1)] {
        println!(
            "{name:28} {:7.0} a second, p99 {:5.0} us, cpu {:5.2} us here and {:5.2} us in the server",
            middle(side, |round| round.rate),
            middle(side, |round| round.p99),
            middle(side, |round| round.cpu[0]),
            middle(side, |round| round.cpu[1]),
        );
    }
}

async fn hot_read(server: &Server) {
    let memory = MemoryStore::new();
    let cached = RedisStore::builder(&server.url())
        .cached()
        .connect()
        .await
        .unwrap();
    let mut keys = Vec::new();
    for _ in 0..100 {
        let (key, data) = (key(), Bytes::from(vec![7; 256]));
        memory
            .write(&key, data.clone(), HOUR, Expected::Any)
            .await
            .unwrap();
        cached.write(&key, data, HOUR, Expected::Any).await.unwrap();
        keys.push(key);
    }
    // Until changes are told, nothing is kept.
    while cached.cache_stats().entries < keys.len() {
        for key in &keys {
            cached.read(key, None).await.unwrap();
        }
    }
    let mut ratios = Vec::new();
    let mut last = (0.0, 0.0);
    for _ in 0..ROUNDS {
        last = (nanos(&memory, &keys).await, nanos(&cached, &keys).await);
        ratios.push(last.1 / last.0);
    }
    println!(
        "hot read           {:.2} times the memory store's   (one round: {:.0} and {:.0} ns)",
        median(ratios),
        last.1,
        last.0
    );
}

async fn nanos(store: &impl Store, keys: &[StoreKey]) -> f64 {
    const TIMES: usize = 2_000;
    let start = Instant::now();
    for _ in 0..TIMES {
        for key in keys {
            black_box(store.read(key, None).await.unwrap());
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / (TIMES * keys.len()) as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
