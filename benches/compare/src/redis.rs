//! This crate's Redis store beside `tower-sessions-redis-store`: the same requests, from many tasks
//! at once, on one `redis-server` that this starts itself.
//!
//! Both keep two connections. Every task has a session of its own, so no request waits for another
//! one's session. Rounds take turns, and what counts is their ratio. Where there is `/proc`, the
//! processor time that a request takes is there too, here and in the server together: other work on
//! the machine changes it less. A word behind `--` picks the cases with it in their name.

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

type Answer = Result<Response<Body>, Infallible>;

/// A service with a session around it.
type Service = Arc<
    dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync,
>;

/// What a contender does with a request.
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
        println!("redis: there is no redis-server here, so nothing was measured");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let ours = ours(&server.url).await;
        let theirs = theirs(&server.url).await;
        println!(
            "sessions of {}, {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?} each in turn",
            Size::Small
        );
        for tasks in [16, 256, 1024] {
            for (what, job) in [("read", Job::Read), ("increment", Job::Increment)] {
                let what = format!("{what} one key, {tasks} tasks");
                if wanted(&what) {
                    compare(&what, job, tasks, &server, [&ours, &theirs]).await;
                }
            }
        }
    });
}

/// Whether this is to be measured: all is, unless the command line names a part of what is.
fn wanted(what: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    parts.next().is_none_or(|part| what.contains(&part))
}

/// The settings are the defaults: sealed cookies, renewed with every answer.
async fn ours(url: &str) -> Contender {
    let builder = RedisStore::builder(url).pool_size(CONNECTIONS);
    let store = builder.connect().await.expect("the server answers");
    let config = SessionConfig::default()
        .cookie_name(request::COOKIE)
        .app_key("sixty-four hexadecimal digits would do as well as this");
    let sessions = Sessions::new(config, store).expect("the settings are right");
    Box::new(move |job| {
        let service = Arc::new(sessions.wrap_fn(
            move |_: Request<Body>, session: Session| async move {
                Answer::Ok(answer(job_of_ours(job, &session).await))
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

async fn job_of_ours(job: Job, session: &Session) -> i64 {
    let session = session.load().await.expect("the store answers");
    match job {
        Job::Seed => {
            for (key, value) in Size::Small.entries() {
                session.put(key, &value).expect("a new session takes data");
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

/// Plain cookies, sent when the session has changed: the least that it can do.
async fn theirs(url: &str) -> Contender {
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
            Answer::Ok(answer(job_of_theirs(job, &session).await))
        }));
        Arc::new(move |request| {
            let service = service.clone();
            Box::pin(async move { service.oneshot(request).await.expect("the service answers") })
        })
    })
}

async fn job_of_theirs(job: Job, session: &TowerSession) -> i64 {
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

/// The answer, with the number that the handler found.
fn answer(number: i64) -> Response<Body> {
    let mut response = request::answer();
    response.headers_mut().insert("x-found", number.into());
    response
}

async fn compare(what: &str, job: Job, tasks: usize, server: &Server, both: [&Contender; 2]) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let [ours, theirs] = both;
        let theirs = round(job, tasks, server, theirs).await;
        rounds.push([round(job, tasks, server, ours).await, theirs]);
    }
    let middle = |of: &dyn Fn(&[Round; 2]) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[ROUNDS / 2]
    };
    println!(
        "{what}: {:.2} times its requests a second ({:.0} and {:.0}), \
         {:.2} of its cpu ({:.1} and {:.1} us)",
        middle(&|[ours, theirs]| ours.rate / theirs.rate),
        middle(&|[ours, _]| ours.rate),
        middle(&|[_, theirs]| theirs.rate),
        middle(&|[ours, theirs]| ours.cpu / theirs.cpu),
        middle(&|[ours, _]| ours.cpu),
        middle(&|[_, theirs]| theirs.cpu),
    );
}

struct Round {
    /// Requests a second.
    rate: f64,
    /// Processor time for a request, in microseconds.
    cpu: f64,
}

async fn round(job: Job, tasks: usize, server: &Server, contender: &Contender) -> Round {
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
                assert!(found >= START, "a session that is not found is not fast");
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

/// A server with nothing in it, which keeps nothing on disk, and ends with this.
struct Server {
    url: String,
    child: Child,
}

impl Server {
    /// `None` where there is no `redis-server`.
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

    /// The processor time that this process and the server have taken so far, in microseconds.
    fn cpu(&self) -> f64 {
        [std::process::id(), self.child.id()].map(cpu).iter().sum()
    }
}

/// User and system time, the 14th and the 15th field, in ticks of a hundredth of a second.
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
        let _ended = self.child.kill();
        let _seen = self.child.wait();
    }
}
