//! Compares session middlewares over real sockets: the processor time of the server for each request.
//!
//! Every server runs in a process of its own, with one thread, on the last core. The load runs on the first
//! one: 64 connections that stay open, each with a session of its own and a `Cookie` header of 400 B, whose
//! cookies are renewed as a browser would renew them. All servers do the same work, and each answer is checked. They
//! take turns, round by round, and each is compared with the same server without sessions in that round.
//!
//! A word after `--` selects the servers with that word in their name, and those that they are compared with.
//! The word `prepare` only builds and installs what the servers need. Environment: `ROUNDS` (default 9), `REQUESTS` of
//! a round (default 6,400; a fifth for Node.js) and `WARM_UP`, the requests of each kind to servers for Node.js before the
//! first round (default 20,000). `BENCH_RESULTS` names a file for the results, and `FILE_BENCH_DIR` a directory for
//! the files of the servers.

#[allow(dead_code, reason = "shared with the other comparison")]
#[path = "../document.rs"]
mod document;
mod job;
mod load;
mod process;
#[allow(unused_imports, reason = "a part of the test support")]
#[path = "../../../../tests/support/redis_servers/mod.rs"]
mod redis_servers;
#[allow(dead_code, reason = "shared with the other comparison")]
#[path = "../request.rs"]
mod request;
#[path = "../../../support/results.rs"]
mod results;
mod server;
mod servers;

use std::{env, thread::available_parallelism, time::Duration};

use job::Job;
use load::Visitor;
use process::Process;
use redis_servers::Server as Redis;
use results::{Results, Spread};
use servers::{CONTENDERS, Contender, Start};

const CONNECTIONS: usize = 64;

/// A server that takes longer for the requests of a round has failed.
const TIMEOUT: Duration = Duration::from_secs(120);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server under load.
struct Running {
    contender: &'static Contender,
    process: Process,
    visitors: Vec<Visitor>,
    /// The requests of a round.
    requests: usize,
    /// Processor time of a request in µs, one for each round.
    times: Vec<f64>,
    /// A request had no answer or a wrong one. The others are still measured.
    has_failed: bool,
}

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        let name = arguments.next().expect("the name of a contender follows");
        return servers::serve(&name);
    }
    if env::args().any(|argument| argument == "prepare") {
        return process::prepare();
    }
    let cores = available_parallelism().map_or(1, usize::from);
    process::stay_on_core(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(measure(cores));
}

async fn measure(cores: usize) {
    let (rounds, requests) = (number("ROUNDS", 9), number("REQUESTS", 6400));
    let mut results = Results::open("sockets");
    let selected = selected();
    let redis = start_redis(&selected, &mut results);
    let mut all = Vec::new();
    for contender in selected {
        match start(contender, cores - 1, requests, redis.as_ref()).await {
            Some(running) => all.push(running),
            None => results.skip(&format!("{}: it did not start", contender.name)),
        }
    }
    warm_up(&mut all).await;
    println!("{rounds} rounds of {requests} requests, {CONNECTIONS} connections, {cores} cores");
    println!(
        "µs of processor time of the server per request, and times the same server without sessions (lowest to \
         highest of the rounds)"
    );
    for job in [Job::Untouched, Job::Read, Job::Increment] {
        for running in &mut all {
            running.times.clear();
            // A warm-up, which is not recorded.
            running.run(job).await;
        }
        for round in 0..rounds {
            for number in 0..all.len() {
                let turn = (number + round) % all.len();
                if let Some(time) = all[turn].run(job).await {
                    all[turn].times.push(time);
                }
            }
        }
        report(job, &all, &mut results);
    }
    for failed in all.iter().filter(|it| it.has_failed) {
        results.skip(&format!("{}: it failed in the run", failed.contender.name));
    }
}

/// Lets Node.js compile the code of every kind of request before the first round.
async fn warm_up(all: &mut [Running]) {
    let requests = number("WARM_UP", 20_000);
    let node = |it: &&mut Running| matches!(it.contender.start, Start::Node(_));
    for running in all.iter_mut().filter(node) {
        let of_a_round = std::mem::replace(&mut running.requests, requests);
        for job in [Job::Untouched, Job::Read, Job::Increment] {
            running.run(job).await;
        }
        running.requests = of_a_round;
    }
}

/// Returns the selected contenders and those that they are compared with.
fn selected() -> Vec<&'static Contender> {
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_named = |it: &Contender| {
        words.is_empty() || words.iter().any(|word| it.name.contains(word.as_str()))
    };
    let is_base = |it: &Contender| {
        CONTENDERS
            .iter()
            .any(|other| is_named(other) && other.base == it.name)
    };
    CONTENDERS
        .iter()
        .filter(|it| is_named(it) || is_base(it))
        .collect()
}

fn start_redis(selected: &[&Contender], results: &mut Results) -> Option<Redis> {
    if !selected.iter().any(|it| it.needs_redis) {
        return None;
    }
    let version = std::process::Command::new(redis_servers::program())
        .arg("--version")
        .output();
    if version.is_err() {
        results.skip("Redis: there is no redis-server");
        return None;
    }
    Some(Redis::start())
}

async fn start(
    contender: &'static Contender,
    core: usize,
    requests: usize,
    redis: Option<&Redis>,
) -> Option<Running> {
    if contender.needs_redis && redis.is_none() {
        return None;
    }
    let url = redis.map(Redis::url);
    let process = Process::start(contender, core, url.as_deref())?;
    let address = process.address;
    let first = match contender.name == contender.base {
        true => Job::Untouched,
        false => Job::Seed,
    };
    let visitors = answered(async move {
        let mut visitors = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut visitor = Visitor::connect(address).await;
            visitor.send(first).await;
            visitors.push(visitor);
        }
        visitors
    })
    .await?;
    let requests = match contender.start {
        Start::Node(_) => requests / 5,
        Start::Rust(_) | Start::Package(_) => requests,
    };
    Some(Running {
        contender,
        process,
        visitors,
        requests,
        times: Vec::new(),
        has_failed: false,
    })
}

/// Returns the output of the requests, or `None` if one has no answer or a wrong one.
async fn answered<T: Send + 'static>(
    requests: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    // A visitor panics at a wrong answer, and the panic ends its task.
    let task = tokio::spawn(tokio::time::timeout(TIMEOUT, requests));
    task.await.ok()?.ok()
}

impl Running {
    /// Sends the load of one round. Returns the processor time of a request in µs, or `None` if the server has failed.
    async fn run(&mut self, job: Job) -> Option<f64> {
        if self.has_failed {
            return None;
        }
        let time = self.time(job).await;
        self.has_failed = time.is_none();
        time
    }

    async fn time(&mut self, job: Job) -> Option<f64> {
        let job = match self.contender.name == self.contender.base {
            true => Job::Untouched,
            false => job,
        };
        let each = self.requests / CONNECTIONS;
        let before = self.process.processor_time()?;
        let send = |mut visitor: Visitor| {
            tokio::spawn(answered(async move {
                for _ in 0..each {
                    visitor.send(job).await;
                }
                visitor
            }))
        };
        let load: Vec<_> = self.visitors.drain(..).map(send).collect();
        for connection in load {
            let visitor = connection.await.ok().flatten();
            self.visitors.extend(visitor);
        }
        let is_complete = self.visitors.len() == CONNECTIONS;
        let time = (self.process.processor_time()? - before) / (each * CONNECTIONS) as f64;
        is_complete.then_some(time)
    }
}

fn report(job: Job, all: &[Running], results: &mut Results) {
    println!("\n{}:", job.label());
    let complete = all.iter().filter(|it| !it.has_failed);
    for running in complete.clone() {
        let contender = running.contender;
        let base = complete
            .clone()
            .find(|it| it.contender.name == contender.base);
        let Some(base) = base else { continue };
        let pairs = running.times.iter().zip(&base.times);
        let ratio = spread(pairs.map(|(time, base)| time / base).collect());
        let time = spread(running.times.clone()).median;
        let Spread {
            lowest,
            median,
            highest,
        } = ratio;
        println!(
            "  {:36} {time:7.2} µs {median:6.2} ({lowest:.2} to {highest:.2})",
            contender.name
        );
        results.add(job.label(), contender.name, "µs", time);
        results.add_spread(job.label(), contender.name, "times its base", ratio);
    }
}

/// Returns the median of the rounds, the lowest and the highest.
fn spread(mut rounds: Vec<f64>) -> Spread {
    rounds.sort_by(f64::total_cmp);
    Spread {
        lowest: rounds[0],
        median: rounds[rounds.len() / 2],
        highest: rounds[rounds.len() - 1],
    }
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
