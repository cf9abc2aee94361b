//! Compares session middlewares over real sockets: the processor time of the server for each request.
//!
//! Every server runs in a process of its own, with one thread, on the last core. The load runs on the first
//! one: 64 connections that stay open, each with a session of its own and a `Cookie` header of 400 B, whose
//! cookies are renewed as a browser would renew them. All servers do the same work, and each answer is checked. They
//! take turns, round by round, and each is compared with the same server without sessions in that round.
//!
//! A word after `--` selects the servers with that word in their name, and those that they are compared with.
//! Environment: `ROUNDS` (default 9) and `REQUESTS` of a round (default 6,400; a fifth for Node.js).
//! `BENCH_RESULTS` names a file for the results.

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

use std::{env, thread::available_parallelism};

use job::Job;
use load::Visitor;
use process::Process;
use redis_servers::Server as Redis;
use results::Results;
use servers::{CONTENDERS, Contender, Start};

const CONNECTIONS: usize = 64;

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
}

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        let name = arguments.next().expect("the name of a contender follows");
        return servers::serve(&name);
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
    let selected = selected();
    let redis = start_redis(&selected);
    let mut all = Vec::new();
    for contender in selected {
        if let Some(running) = start(contender, cores - 1, requests, redis.as_ref()).await {
            all.push(running);
        }
    }
    println!("{rounds} rounds of {requests} requests, {CONNECTIONS} connections, {cores} cores");
    println!(
        "µs of processor time of the server per request, and times the same server without sessions"
    );
    let mut results = Results::open("sockets");
    for job in [Job::Untouched, Job::Read, Job::Increment] {
        for running in &mut all {
            running.times.clear();
            // A warm-up, which is not recorded.
            running.run(job).await;
        }
        for round in 0..rounds {
            for number in 0..all.len() {
                let turn = (number + round) % all.len();
                let time = all[turn].run(job).await;
                all[turn].times.push(time);
            }
        }
        report(job, &all, &mut results);
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

fn start_redis(selected: &[&Contender]) -> Option<Redis> {
    let is_needed = selected.iter().any(|it| it.needs_redis);
    let version = std::process::Command::new("redis-server")
        .arg("--version")
        .output();
    match (is_needed, version) {
        (true, Ok(_)) => Some(Redis::start()),
        (true, Err(_)) => {
            println!("Redis: skipped, since there is no redis-server");
            None
        }
        (false, _) => None,
    }
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
    let mut visitors = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut visitor = Visitor::connect(process.address).await;
        let first = match contender.name == contender.base {
            true => Job::Untouched,
            false => Job::Seed,
        };
        visitor.send(first).await;
        visitors.push(visitor);
    }
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
    })
}

impl Running {
    /// Sends the load of one round. Returns the processor time of a request in µs.
    async fn run(&mut self, job: Job) -> f64 {
        let job = match self.contender.name == self.contender.base {
            true => Job::Untouched,
            false => job,
        };
        let each = self.requests / CONNECTIONS;
        let before = self.process.processor_time();
        let load: Vec<_> = self
            .visitors
            .drain(..)
            .map(|mut visitor| {
                tokio::spawn(async move {
                    for _ in 0..each {
                        visitor.send(job).await;
                    }
                    visitor
                })
            })
            .collect();
        for connection in load {
            self.visitors
                .push(connection.await.expect("each answer is right"));
        }
        (self.process.processor_time() - before) / (each * CONNECTIONS) as f64
    }
}

fn report(job: Job, all: &[Running], results: &mut Results) {
    println!("\n{}:", job.label());
    for running in all {
        let contender = running.contender;
        let base = all.iter().find(|it| it.contender.name == contender.base);
        let base = base.expect("the base of a selected contender is selected");
        let pairs = running.times.iter().zip(&base.times);
        let ratio = median(pairs.map(|(time, base)| time / base).collect());
        let time = median(running.times.clone());
        println!("  {:36} {time:7.2} µs {ratio:6.2}", contender.name);
        results.add(job.label(), contender.name, "µs", time);
        results.add(job.label(), contender.name, "times its base", ratio);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
