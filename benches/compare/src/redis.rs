//! Compares this crate's Redis store with `tower-sessions-redis-store`: the same requests, from many
//! concurrent tasks, on one `redis-server` that this program starts.
//!
//! Both use two connections. Every task has a session of its own, so that no request waits for another
//! one's session. The rounds of both take turns, and the result is their ratio. On systems with
//! `/proc`, the result includes the processor time of a request in this process and the server
//! together, which other work on the machine changes less. A word after `--` selects the cases with
//! that word in their name.

#[allow(dead_code, reason = "shared with the other comparison")]
mod document;
#[allow(dead_code, reason = "shared with the other comparison")]
mod request;

use std::{
    convert::Infallible,
    future::Future,
    net::{TcpListener, TcpStream},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use document::{COUNTER, START, Size};
use http::{Request, Response, header};
use hyper::service::Service as _;
use hyper_session::{Session, SessionConfig, Sessions, store::RedisStore};
use request::Body;
use tower::{Layer, ServiceExt, service_fn};
use tower_sessions_014::{Expiry, Session as TowerSession, SessionManagerLayer};
use tower_sessions_redis_store::{
    RedisStore as TowerStore,
    fred::{clients::Pool, interfaces::ClientLike, types::Builder, types::config::Config},
};

const CONNECTIONS: usize = 2;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type HandlerResult = Result<Response<Body>, Infallible>;

/// A service inside a session middleware.
type Service = Arc<
    dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync,
>;

/// The action of the handler.
#[derive(Clone, Copy)]
enum Job {
    Seed,
    Read,
    Increment,
}

/// A contender's services, by job.
type Contender = Box<dyn Fn(Job) -> Service>;

fn main() {
    let Some(server) = Server::start() else {
        println!("redis: redis-server not found; nothing was measured");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let hyper = hyper_session(&server.url).await;
        let tower = tower_sessions(&server.url).await;
        println!(
            "sessions of {}, {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?} each in turn",
            Size::Small
        );
        for tasks in [16, 256, 1024] {
            for (name, job) in [("read", Job::Read), ("increment", Job::Increment)] {
                let name = format!("{name} one key, {tasks} tasks");
                if is_selected(&name) {
                    compare(&name, job, tasks, &server, [&hyper, &tower]).await;
                }
            }
        }
    });
}

/// Returns `true` if the command line selects this case; without arguments it selects all.
fn is_selected(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    parts.next().is_none_or(|part| name.contains(&part))
}

/// This crate with default settings: a sealed cookie, sent again with every response.
async fn hyper_session(url: &str) -> Contender {
    let builder = RedisStore::builder(url).pool_size(CONNECTIONS);
    let store = builder.connect().await.expect("the server answers");
    let config = SessionConfig::default()
        .cookie_name(request::COOKIE)
        .app_key("sixty-four hexadecimal digits would do as well as this");
    let sessions = Sessions::new(config, store).expect("the settings are right");
    Box::new(move |job| {
        let service = Arc::new(sessions.wrap_fn(
            move |_: Request<Body>, session: Session| async move {
                HandlerResult::Ok(response(run_hyper_job(job, &session).await))
            },
        ));
        Arc::new(move |request| {
            let service = Arc::clone(&service);
            Box::pin(async move {
                let response = service.call(request).await.expect("the service answers");
                response.map(|_| Body::default())
            })
        })
    })
}

async fn run_hyper_job(job: Job, session: &Session) -> i64 {
    let session = session.load().await.expect("the store answers");
    match job {
        Job::Seed => {
            for (key, value) in Size::Small.entries() {
                session.put(key, value).expect("a new session takes data");
            }
        }
        Job::Read => {}
        Job::Increment => {
            session.increment(COUNTER).expect("it is a number");
        }
    }
    let number: Option<i64> = session.get(COUNTER).expect("it is a number");
    number.unwrap_or_default()
}

/// Returns tower-sessions with a plain cookie, sent only if the session has changed: its least work.
async fn tower_sessions(url: &str) -> Contender {
    let config = Config::from_url(url).expect("the address is valid");
    let pool: Pool = Builder::from_config(config)
        .build_pool(CONNECTIONS)
        .expect("the settings are right");
    pool.init().await.expect("the server answers");
    let layer = SessionManagerLayer::new(TowerStore::new(pool))
        .with_name(request::COOKIE)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(2)));
    Box::new(move |job| {
        let service = layer.layer(service_fn(move |request: Request<Body>| async move {
            let session = request.extensions().get::<TowerSession>().cloned();
            let session = session.expect("the layer gives a session");
            HandlerResult::Ok(response(run_tower_job(job, &session).await))
        }));
        Arc::new(move |request| {
            let service = service.clone();
            Box::pin(async move { service.oneshot(request).await.expect("the service answers") })
        })
    })
}

async fn run_tower_job(job: Job, session: &TowerSession) -> i64 {
    if let Job::Seed = job {
        for (key, value) in Size::Small.entries() {
            let inserted = session.insert_value(key, value).await;
            inserted.expect("a new session takes data");
        }
    }
    let number: Option<i64> = session.get(COUNTER).await.expect("the store answers");
    let number = number.unwrap_or_default();
    if let Job::Increment = job {
        let inserted = session.insert(COUNTER, number + 1).await;
        inserted.expect("the store answers");
    }
    number
}

/// Returns the response, with the number that the handler found.
fn response(number: i64) -> Response<Body> {
    let mut response = request::response();
    response.headers_mut().insert("x-found", number.into());
    response
}

async fn compare(case: &str, job: Job, tasks: usize, server: &Server, both: [&Contender; 2]) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let [hyper, tower] = both;
        let tower = run_round(job, tasks, server, tower).await;
        rounds.push([run_round(job, tasks, server, hyper).await, tower]);
    }
    let median = |figure: &dyn Fn(&[Round; 2]) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(figure).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[ROUNDS / 2]
    };
    println!(
        "{case}: {:.2} times its requests a second ({:.0} and {:.0}), \
         {:.2} of its cpu ({:.1} and {:.1} us)",
        median(&|[hyper, tower]| hyper.rate / tower.rate),
        median(&|[hyper, _]| hyper.rate),
        median(&|[_, tower]| tower.rate),
        median(&|[hyper, tower]| hyper.cpu / tower.cpu),
        median(&|[hyper, _]| hyper.cpu),
        median(&|[_, tower]| tower.cpu),
    );
}

struct Round {
    /// Requests per second.
    rate: f64,
    /// Processor time of a request, in microseconds.
    cpu: f64,
}

async fn run_round(job: Job, tasks: usize, server: &Server, contender: &Contender) -> Round {
    let mut requests = Vec::new();
    for _ in 0..tasks {
        let seeded = contender(Job::Seed)(request::plain()).await;
        let set = seeded.headers().get_all(header::SET_COOKIE);
        let cookie = request::session_cookie(set.iter().map(|value| value.as_bytes()));
        let cookie = cookie.expect("a session with data in it has a cookie");
        requests.push(request::with_cookie(&cookie));
    }
    let (before, start) = (server.cpu(), Instant::now());
    let running = requests.into_iter().map(|request| {
        let service = contender(job);
        tokio::spawn(async move {
            let mut done = 0_u32;
            while start.elapsed() < ROUND {
                let response = service(request.clone()).await;
                let found = response.headers()["x-found"].to_str().map(str::parse);
                let found: i64 = found.expect("it is text").expect("it is a number");
                assert!(found >= START, "the handler must find the session's number");
                done += 1;
            }
            done
        })
    });
    let mut done = 0.0;
    for task in running.collect::<Vec<_>>() {
        done += f64::from(task.await.expect("no task panics"));
    }
    Round {
        rate: done / start.elapsed().as_secs_f64(),
        cpu: (server.cpu() - before) / done,
    }
}

/// An empty server without persistence; it is stopped when this is dropped.
struct Server {
    url: String,
    child: Child,
}

impl Server {
    /// Starts a server. Returns `None` if `redis-server` is not installed.
    fn start() -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("there is a free port");
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
            .args(["--port", &address.port().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self {
            url: format!("redis://{address}"),
            child,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// Returns the processor time of this process and of the server so far, in microseconds.
    fn cpu(&self) -> f64 {
        [std::process::id(), self.child.id()].map(cpu).iter().sum()
    }
}

/// Returns the user and system time of a process in microseconds: fields 14 and 15, in ticks of 10 ms.
fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(11).take(2);
    times
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        * 10_000.0
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
