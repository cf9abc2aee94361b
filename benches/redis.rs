//! The Redis store beside the bare client under it, and its local copies beside the memory store.
//!
//! `cargo bench --features redis --bench redis` starts a `redis-server` of its own. Both sides take
//! turns, and what counts is their ratio.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and has nobody to report to"
)]

#[path = "../tests/redis_servers/mod.rs"]
mod redis_servers;

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::{
    clients::Pool,
    interfaces::ClientLike,
    types::{Builder, ClusterHash, CustomCommand, FromValue, RespVersion, Value, config::Config},
};
use hyper_session::{
    id::Key,
    store::{Expected, MemoryStore, Read, RedisStore, Store, Version, Written},
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
    let server = Server::start();
    let sides = Sides::new(&server).await;
    println!("record of 256 bytes, pool of {POOL}, {ROUNDS} rounds of {ROUND:?} each in turn");
    for tasks in [16, 256] {
        compare(
            &format!("read, {tasks} tasks"),
            tasks,
            Work::Get,
            Work::Read,
            &sides,
        )
        .await;
        compare(
            &format!("commit, {tasks} tasks"),
            tasks,
            Work::Set,
            Work::Write,
            &sides,
        )
        .await;
    }
    hot_read(&server).await;
}

#[derive(Clone)]
struct Sides {
    bare: Pool,
    store: RedisStore,
}

#[derive(Clone, Copy)]
enum Work {
    Get,
    Set,
    Read,
    Write,
}

/// What a task works on, of its own.
struct Place {
    key: Key,
    name: Bytes,
    data: Bytes,
    version: Version,
}

impl Sides {
    async fn new(server: &Server) -> Self {
        let mut config = Config::from_url(&server.url()).unwrap();
        config.version = RespVersion::RESP3;
        let bare = Builder::from_config(config).build_pool(POOL).unwrap();
        bare.init().await.unwrap();
        let builder = RedisStore::builder(&server.url()).pool_size(POOL);
        let store = builder.connect().await.unwrap();
        Self { bare, store }
    }

    async fn place(&self) -> Place {
        let (key, data) = (key(), Bytes::from(vec![7; 256]));
        let name = Bytes::from(format!("bare:{key}"));
        let _: Value = self.bare("SET", set_args(&name, &data)).await;
        let written = self
            .store
            .write(&key, data.clone(), HOUR, Expected::Absent)
            .await;
        let Ok(Written::Done(version)) = written else {
            unreachable!("a new key has no record")
        };
        Place {
            key,
            name,
            data,
            version,
        }
    }

    /// The client's own command, converted as its typed ones are.
    async fn bare<T: FromValue>(&self, name: &'static str, args: Vec<Bytes>) -> T {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        self.bare.next().custom(command, args).await.unwrap()
    }

    async fn work(&self, work: Work, place: &mut Place) {
        match work {
            Work::Get => {
                let value: Bytes = self.bare("GET", vec![place.name.clone()]).await;
                black_box(value);
            }
            Work::Set => {
                let _: Value = self.bare("SET", set_args(&place.name, &place.data)).await;
            }
            Work::Read => {
                let read = self.store.read(&place.key, None).await.unwrap();
                assert!(matches!(black_box(read), Read::Found(_)));
            }
            Work::Write => {
                let expected = Expected::Version(place.version);
                let write = self
                    .store
                    .write(&place.key, place.data.clone(), HOUR, expected);
                let Written::Done(version) = write.await.unwrap() else {
                    unreachable!("nobody else writes")
                };
                place.version = version;
            }
        }
    }
}

fn set_args(name: &Bytes, data: &Bytes) -> Vec<Bytes> {
    let [ex, life] = [&b"EX"[..], b"3600"].map(Bytes::from_static);
    vec![name.clone(), data.clone(), ex, life]
}

/// One side's round: operations per second, and the 99th percentile in microseconds.
async fn round(sides: &Sides, work: Work, tasks: usize) -> (f64, f64) {
    let start = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let sides = sides.clone();
            tokio::spawn(async move {
                let mut place = sides.place().await;
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
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let p99 = times
        .get(times.len() * 99 / 100)
        .copied()
        .unwrap_or_default();
    (rate, p99.as_secs_f64() * 1e6)
}

async fn compare(what: &str, tasks: usize, bare: Work, ours: Work, sides: &Sides) {
    let (mut ratios, mut tails, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bare = round(sides, bare, tasks).await;
        let ours = round(sides, ours, tasks).await;
        ratios.push(ours.0 / bare.0);
        tails.push(ours.1 / bare.1);
        rates.push((bare, ours));
    }
    let (bare, ours) = rates.swap_remove(ROUNDS / 2);
    println!(
        "{what:18} {:.2} of bare fred's rate, p99 {:.2} times its p99   \
         (one round: {:.0} and {:.0} a second, p99 {:.0} and {:.0} us)",
        median(ratios),
        median(tails),
        ours.0,
        bare.0,
        ours.1,
        bare.1
    );
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

async fn nanos(store: &impl Store, keys: &[Key]) -> f64 {
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
