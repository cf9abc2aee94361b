//! Compares the Redis store with the bare client underneath, and its near cache with the memory
//! store.
//!
//! `cargo bench --features redis --bench redis` starts a `redis-server` of its own. The bare side uses
//! the client's typed `get` and `set`, which the client pipelines. For a conditional write it uses
//! `EVALSHA` of the shortest script that compares and sets, since Redis 7 has no command for that.
//!
//! The sides take turns. The results are their ratio, and the processor time of an operation on each
//! side of the socket; other work on the machine changes these less than absolute times. A word after
//! `--` selects the cases with that word in their name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints and has no caller that handles errors"
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
    store::{
        Expected, MemoryStore, ReadOutcome, RedisStore, Store, Tags, Version, WriteOutcome,
        WriteRequest,
    },
};
use redis_servers::{
    Server,
    sessions::{key, tags},
};

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
        println!("redis: redis-server not found; nothing was measured");
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
        for (name, bare, store) in [
            ("read to GET", Operation::Get, Operation::Read),
            ("commit to SET", Operation::Set, Operation::Write),
            ("commit to EVALSHA", Operation::Eval, Operation::Write),
            (
                "tagged commit to EVALSHA",
                Operation::Eval,
                Operation::WriteTagged,
            ),
        ] {
            let name = format!("{name}, {tasks} tasks");
            if is_selected(&name) {
                compare(&name, tasks, bare, store, &sides).await;
            }
        }
    }
    if is_selected("hot read") {
        compare_hot_read(&server).await;
    }
}

/// Returns `true` if the command line selects this case; without arguments it selects all.
fn is_selected(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    parts.next().is_none_or(|part| name.contains(&part))
}

/// The shortest script that checks a version and sets a value.
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
enum Operation {
    Get,
    Set,
    Eval,
    Read,
    Write,
    /// A write of a session whose tag does not change.
    WriteTagged,
}

/// The data of one task: a session of the store and a key of the bare client.
struct TaskData {
    key: StoreKey,
    name: Bytes,
    data: Bytes,
    tags: Tags,
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

    async fn create_data(&self) -> TaskData {
        let (key, data) = (key(), Bytes::from(vec![7; 256]));
        let name = Bytes::from(format!("bare:{key}"));
        self.set(&name, &data).await;
        let request = WriteRequest::new(&key, data.clone(), HOUR, Expected::Absent);
        let written = self.store.write(request).await;
        let Ok(WriteOutcome::Done(version)) = written else {
            unreachable!("a new key has no record")
        };
        TaskData {
            key,
            name,
            data,
            tags: tags(&["user:1"]),
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

    async fn run(&self, operation: Operation, data: &mut TaskData) {
        match operation {
            Operation::Get => {
                let name = fred::types::Key::from(data.name.clone());
                let value: Value = self.bare.next().get(name).await.unwrap();
                assert!(black_box(value).into_bytes().is_some());
            }
            Operation::Set => self.set(&data.name, &data.data).await,
            Operation::Eval => self.compare_and_set(&data.name, &data.data).await,
            Operation::Read => {
                let read = self.store.read(&data.key, None).await.unwrap();
                assert!(matches!(black_box(read), ReadOutcome::Found(_)));
            }
            Operation::Write | Operation::WriteTagged => {
                let expected = Expected::Version(data.version);
                let request = WriteRequest::new(&data.key, data.data.clone(), HOUR, expected);
                let is_tagged = matches!(operation, Operation::WriteTagged);
                let tags = if is_tagged {
                    data.tags.clone()
                } else {
                    Tags::new()
                };
                let request = request.tags(tags);
                let WriteOutcome::Done(version) = self.store.write(request).await.unwrap() else {
                    unreachable!("no other task writes")
                };
                data.version = version;
            }
        }
    }
}

/// The results of one round of one side.
#[derive(Clone, Copy)]
struct Round {
    /// Operations per second.
    rate: f64,
    /// The 99th percentile, in microseconds.
    p99: f64,
    /// Processor time of an operation in this process and in the server, in microseconds.
    cpu: [f64; 2],
}

async fn run_round(sides: &Sides, operation: Operation, tasks: usize) -> Round {
    let mut all_data = Vec::new();
    for _ in 0..tasks {
        all_data.push(sides.create_data().await);
    }
    let (cpu, start) = (cpu(&sides.server), Instant::now());
    let running: Vec<_> = all_data
        .into_iter()
        .map(|mut data| {
            let sides = sides.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < ROUND {
                    let began = Instant::now();
                    sides.run(operation, &mut data).await;
                    times.push(began.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.unwrap());
    }
    summarize(times, start.elapsed(), cpu, &sides.server)
}

fn summarize(mut times: Vec<Duration>, took: Duration, before: [f64; 2], server: &Server) -> Round {
    let ([client, remote], count) = (cpu(server), times.len() as f64);
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    Round {
        rate: count / took.as_secs_f64(),
        p99: p99.as_secs_f64() * 1e6,
        cpu: [(client - before[0]) / count, (remote - before[1]) / count],
    }
}

/// Returns the processor time of this process and of the server so far, in microseconds.
fn cpu(server: &Server) -> [f64; 2] {
    let process = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let info = server.send(&["INFO", "cpu"]);
    let used = info.lines().filter_map(|line| {
        let (name, seconds) = line.split_once(':')?;
        let is_total = ["used_cpu_sys", "used_cpu_user"].contains(&name);
        is_total.then(|| seconds.trim().parse::<f64>().unwrap())
    });
    [
        process.tv_sec as f64 * 1e6 + process.tv_nsec as f64 / 1e3,
        used.sum::<f64>() * 1e6,
    ]
}

async fn compare(case: &str, tasks: usize, bare: Operation, store: Operation, sides: &Sides) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push([
            run_round(sides, bare, tasks).await,
            run_round(sides, store, tasks).await,
        ]);
    }
    let ratio = |figure: fn(&Round) -> f64| {
        median(
            rounds
                .iter()
                .map(|[bare, store]| figure(store) / figure(bare))
                .collect(),
        )
    };
    let side_median = |side: usize, figure: fn(&Round) -> f64| {
        median(rounds.iter().map(|round| figure(&round[side])).collect())
    };
    println!(
        "{case:28} {:.2} of its rate, p99 {:.2} of its p99, cpu {:.2} of its cpu",
        ratio(|round| round.rate),
        ratio(|round| round.p99),
        ratio(|round| round.cpu[0] + round.cpu[1]),
    );
    for (name, side) in [("  bare fred", 0), ("  the store", 1)] {
        println!(
            "{name:28} {:7.0} per second, p99 {:5.0} us, cpu {:5.2} us here and {:5.2} us in the server",
            side_median(side, |round| round.rate),
            side_median(side, |round| round.p99),
            side_median(side, |round| round.cpu[0]),
            side_median(side, |round| round.cpu[1]),
        );
    }
}

async fn compare_hot_read(server: &Server) {
    let memory = MemoryStore::new();
    let cached = RedisStore::builder(&server.url())
        .with_near_cache()
        .connect()
        .await
        .unwrap();
    let mut keys = Vec::new();
    for _ in 0..100 {
        let (key, data) = (key(), Bytes::from(vec![7; 256]));
        let request = WriteRequest::new(&key, data, HOUR, Expected::Any);
        memory.write(request.clone()).await.unwrap();
        cached.write(request).await.unwrap();
        keys.push(key);
    }
    // The store caches reads only once the server reports changes.
    while cached.cache_stats().entries < keys.len() {
        for key in &keys {
            cached.read(key, None).await.unwrap();
        }
    }
    let mut ratios = Vec::new();
    let mut last = (0.0, 0.0);
    for _ in 0..ROUNDS {
        last = (
            read_nanos(&memory, &keys).await,
            read_nanos(&cached, &keys).await,
        );
        ratios.push(last.1 / last.0);
    }
    println!(
        "hot read           {:.2} times the memory store's   (one round: {:.0} and {:.0} ns)",
        median(ratios),
        last.1,
        last.0
    );
}

async fn read_nanos(store: &impl Store, keys: &[StoreKey]) -> f64 {
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
