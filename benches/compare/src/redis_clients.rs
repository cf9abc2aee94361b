//! Compares the Redis store with bare clients of Redis, on one server and on a cluster of three masters.
//!
//! The bare clients are `fred` and `redis`, both with pipelining and two connections to each server. They
//! use `GET` and `SET`. For a conditional write they use `EVALSHA` of the shortest script that compares and
//! sets, since Redis 7 has no command for that.
//!
//! The sides take turns. The results are their ratio, and the processor time and the bytes of an operation;
//! other work on the machine changes these less than absolute times. A word after `--` selects the cases
//! with that word in their name.

#[path = "../../../tests/support/redis_servers/mod.rs"]
mod redis_servers;

use std::{
    hint::black_box,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{Expected, ReadOutcome, RedisStore, Store, Version, WriteOutcome, WriteRequest},
};
use redis::{
    AsyncCommands, AsyncConnectionConfig, SetExpiry, SetOptions, aio::MultiplexedConnection,
    cluster::ClusterClientBuilder, cluster_async::ClusterConnection,
};
use redis_servers::{Server, groups::Cluster, sessions::key};
use tower_sessions_redis_store::fred::{
    clients::Pool,
    interfaces::{ClientLike, KeysInterface},
    types::{Builder, ClusterHash, CustomCommand, Expiration, RespVersion, Value, config::Config},
};

const CONNECTIONS: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
/// The default of the crate `redis` is half a second, which a busy machine exceeds.
const TIMEOUT: Duration = Duration::from_secs(10);
const DATA: [u8; 256] = [7; 256];

/// The shortest script that checks a version and sets a value.
const COMPARE_AND_SET: &str = "\
    if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return redis.call('GET', KEYS[1]) end \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) \
    return 1";

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
        .expect("a runtime can be built");
    println!(
        "record of {} bytes, {CONNECTIONS} connections to each server, {ROUNDS} rounds of {ROUND:?} each in turn",
        DATA.len()
    );
    let server = Server::start();
    let url = server.url();
    runtime.block_on(measure("one server", &url, vec![server]));
    let cluster = Cluster::start_with_replicas(0);
    let url = cluster.url();
    runtime.block_on(measure("cluster", &url, cluster.0));
}

/// Returns `true` if the command line selects this case; without arguments it selects all.
fn is_selected(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    parts.next().is_none_or(|part| name.contains(&part))
}

async fn measure(place: &str, url: &str, servers: Vec<Server>) {
    let mut digest = Bytes::new();
    for server in &servers {
        let loaded = server.send(&["SCRIPT", "LOAD", COMPARE_AND_SET]);
        let line = loaded.lines().nth(1).expect("the digest of the script");
        digest = line.to_owned().into();
    }
    let servers: Servers = Arc::new(servers);
    let sides = [
        Side::fred(url, digest.clone()).await,
        Side::redis(url, digest).await,
        Side::store(url).await,
    ];
    for tasks in [1, 16, 256, 1_024] {
        for operation in [Operation::Read, Operation::Write, Operation::CompareAndSet] {
            let name = format!("{place}, {}, {tasks} tasks", operation.name());
            if is_selected(&name) {
                compare(&name, tasks, operation, &sides, &servers).await;
            }
        }
    }
}

type Servers = Arc<Vec<Server>>;

#[derive(Clone, Copy)]
enum Operation {
    Read,
    /// The store compares the version, and the bare clients do not.
    Write,
    /// Both compare.
    CompareAndSet,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read to GET",
            Self::Write => "commit to SET",
            Self::CompareAndSet => "commit to EVALSHA",
        }
    }
}

/// One of the sides that are compared.
#[derive(Clone)]
enum Side {
    Fred(Pool, Bytes),
    Redis(RedisConnections, Bytes),
    Store(RedisStore),
}

/// The connections of the crate `redis`, used in turn.
#[derive(Clone)]
enum RedisConnections {
    Single(Vec<MultiplexedConnection>, Arc<AtomicUsize>),
    Cluster(Vec<ClusterConnection>, Arc<AtomicUsize>),
}

/// The data of one task: a session of the store, or a key of a bare client.
struct TaskData {
    key: StoreKey,
    name: String,
    data: Bytes,
    version: Option<Version>,
}

macro_rules! with_connection {
    ($connections:expr, $connection:ident => $body:expr) => {
        match $connections {
            RedisConnections::Single(all, turn) => {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let mut $connection = all[turn % all.len()].clone();
                $body
            }
            RedisConnections::Cluster(all, turn) => {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let mut $connection = all[turn % all.len()].clone();
                $body
            }
        }
    };
}

impl Side {
    async fn fred(url: &str, digest: Bytes) -> Self {
        let mut config = Config::from_url(url).expect("the URL is valid");
        config.version = RespVersion::RESP3;
        let pool = Builder::from_config(config)
            .build_pool(CONNECTIONS)
            .expect("the settings are right");
        pool.init().await.expect("the server answers");
        Self::Fred(pool, digest)
    }

    async fn redis(url: &str, digest: Bytes) -> Self {
        let turn = Arc::new(AtomicUsize::new(0));
        let connections = match url.strip_prefix("redis-cluster://") {
            None => {
                let client = redis::Client::open(url).expect("the URL is valid");
                let mut all = Vec::new();
                for _ in 0..CONNECTIONS {
                    let config = AsyncConnectionConfig::new().set_response_timeout(Some(TIMEOUT));
                    let connection = client
                        .get_multiplexed_async_connection_with_config(&config)
                        .await;
                    all.push(connection.expect("the server answers"));
                }
                RedisConnections::Single(all, turn)
            }
            Some(address) => {
                let builder = ClusterClientBuilder::new([format!("redis://{address}")]);
                let client = builder.response_timeout(TIMEOUT).build();
                let client = client.expect("the URL is valid");
                let mut all = Vec::new();
                for _ in 0..CONNECTIONS {
                    let connection = client.get_async_connection().await;
                    all.push(connection.expect("the cluster answers"));
                }
                RedisConnections::Cluster(all, turn)
            }
        };
        Self::Redis(connections, digest)
    }

    async fn store(url: &str) -> Self {
        let builder = RedisStore::builder(url).pool_size(CONNECTIONS);
        Self::Store(builder.connect().await.expect("the server answers"))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Fred(..) => "  bare fred",
            Self::Redis(..) => "  bare redis",
            Self::Store(_) => "  the store",
        }
    }

    async fn create_data(&self) -> TaskData {
        let key = key();
        let mut data = TaskData {
            key,
            name: format!("session:{key}"),
            data: Bytes::from_static(&DATA),
            version: None,
        };
        self.write(&mut data).await;
        data
    }

    async fn run(&self, operation: Operation, data: &mut TaskData) {
        match operation {
            Operation::Read => self.read(data).await,
            Operation::Write => self.write(data).await,
            Operation::CompareAndSet => self.compare_and_set(data).await,
        }
    }

    async fn read(&self, data: &TaskData) {
        match self {
            Self::Fred(pool, _) => {
                let value: Value = pool.next().get(&*data.name).await.expect("a reply");
                assert!(black_box(value).into_bytes().is_some());
            }
            Self::Redis(connections, _) => with_connection!(connections, connection => {
                let value: Vec<u8> = connection.get(&data.name).await.expect("a reply");
                assert_eq!(black_box(value).len(), DATA.len());
            }),
            Self::Store(store) => {
                let read = store.read(&data.key, None).await.expect("a reply");
                assert!(matches!(black_box(read), ReadOutcome::Found(_)));
            }
        }
    }

    async fn write(&self, data: &mut TaskData) {
        match self {
            Self::Fred(pool, _) => {
                let life = Some(Expiration::EX(3600));
                let client = pool.next();
                let set = client.set(&*data.name, data.data.clone(), life, None, false);
                let _: () = set.await.expect("a reply");
            }
            Self::Redis(connections, _) => with_connection!(connections, connection => {
                let options = SetOptions::default().with_expiration(SetExpiry::EX(3600));
                let set = connection.set_options(&data.name, &data.data[..], options);
                let _: () = set.await.expect("a reply");
            }),
            Self::Store(store) => {
                let expected = data.version.map_or(Expected::Absent, Expected::Version);
                let request = WriteRequest::new(&data.key, data.data.clone(), HOUR, expected);
                let WriteOutcome::Done(version) = store.write(request).await.expect("a reply")
                else {
                    unreachable!("no other task writes")
                };
                data.version = Some(version);
            }
        }
    }

    async fn compare_and_set(&self, data: &mut TaskData) {
        let done: i64 = match self {
            Self::Fred(pool, digest) => {
                let [one, life] = [&b"1"[..], b"3600000"].map(Bytes::from_static);
                let (name, version) = (data.name.clone().into(), data.data.slice(..8));
                let args = vec![digest.clone(), one, name, version, data.data.clone(), life];
                let command = CustomCommand::new_static("EVALSHA", ClusterHash::FirstKey, false);
                pool.next().custom(command, args).await.expect("a reply")
            }
            Self::Redis(connections, digest) => with_connection!(connections, connection => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(&digest[..]).arg(1).arg(&data.name);
                command.arg(&data.data[..8]).arg(&data.data[..]).arg("3600000");
                command.query_async(&mut connection).await.expect("a reply")
            }),
            Self::Store(_) => {
                self.write(data).await;
                1
            }
        };
        assert_eq!(done, 1);
    }
}

/// The results of one round of one side, each for one operation.
#[derive(Clone, Copy)]
struct Round {
    /// Operations per second.
    rate: f64,
    /// The 99th percentile, in microseconds.
    p99: f64,
    usage: Usage,
}

/// Processor time in microseconds, and bytes.
#[derive(Clone, Copy)]
struct Usage {
    client: f64,
    servers: f64,
    sent: f64,
    received: f64,
}

async fn run_round(side: &Side, operation: Operation, tasks: usize, servers: &Servers) -> Round {
    let mut all_data = Vec::new();
    for _ in 0..tasks {
        all_data.push(side.create_data().await);
    }
    let (before, start) = (usage(servers), Instant::now());
    let running: Vec<_> = all_data
        .into_iter()
        .map(|mut data| {
            let side = side.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < ROUND {
                    let began = Instant::now();
                    side.run(operation, &mut data).await;
                    times.push(began.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.expect("no task panics"));
    }
    let (took, after) = (start.elapsed(), usage(servers));
    times.sort_unstable();
    let count = times.len() as f64;
    Round {
        rate: count / took.as_secs_f64(),
        p99: times[times.len() * 99 / 100].as_secs_f64() * 1e6,
        usage: Usage {
            client: (after.client - before.client) / count,
            servers: (after.servers - before.servers) / count,
            sent: (after.sent - before.sent) / count,
            received: (after.received - before.received) / count,
        },
    }
}

/// Returns the usage of this process and of the servers so far.
fn usage(servers: &Servers) -> Usage {
    let process = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let mut usage = Usage {
        client: process.tv_sec as f64 * 1e6 + process.tv_nsec as f64 / 1e3,
        servers: 0.0,
        sent: 0.0,
        received: 0.0,
    };
    for server in servers.iter() {
        let info = [
            server.send(&["INFO", "cpu"]),
            server.send(&["INFO", "stats"]),
        ]
        .concat();
        for (name, value) in info.lines().filter_map(|line| line.split_once(':')) {
            let value = || value.trim().parse::<f64>().unwrap_or_default();
            match name {
                "used_cpu_sys" | "used_cpu_user" => usage.servers += value() * 1e6,
                "total_net_input_bytes" => usage.sent += value(),
                "total_net_output_bytes" => usage.received += value(),
                _ => {}
            }
        }
    }
    usage
}

async fn compare(
    case: &str,
    tasks: usize,
    operation: Operation,
    sides: &[Side; 3],
    servers: &Servers,
) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        for side in sides {
            round.push(run_round(side, operation, tasks, servers).await);
        }
        rounds.push(round);
    }
    println!("{case}");
    let of_side = |side: usize, figure: &dyn Fn(&Round) -> f64| {
        median(rounds.iter().map(|round| figure(&round[side])).collect())
    };
    for (index, side) in sides.iter().enumerate() {
        println!(
            "{:14} {:7.0} per second, p99 {:6.0} us, cpu {:5.2} us here and {:5.2} us in servers, \
             {:4.0} bytes sent and {:4.0} received",
            side.name(),
            of_side(index, &|round| round.rate),
            of_side(index, &|round| round.p99),
            of_side(index, &|round| round.usage.client),
            of_side(index, &|round| round.usage.servers),
            of_side(index, &|round| round.usage.sent),
            of_side(index, &|round| round.usage.received),
        );
    }
    for (index, side) in sides[..2].iter().enumerate() {
        let ratio = |figure: &dyn Fn(&Round) -> f64| {
            let ratios = rounds
                .iter()
                .map(|round| figure(&round[2]) / figure(&round[index]));
            median(ratios.collect())
        };
        println!(
            "  store to{}: {:.2} of its rate, p99 {:.2}, cpu {:.2}, server cpu {:.2}",
            side.name().trim_start_matches("  bare"),
            ratio(&|round| round.rate),
            ratio(&|round| round.p99),
            ratio(&|round| round.usage.client + round.usage.servers),
            ratio(&|round| round.usage.servers),
        );
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
