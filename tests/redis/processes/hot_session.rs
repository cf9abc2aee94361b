//! Requests of several processes change one session at once. All are stored, with few commands.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper_session::Sessions;
use tokio::task::{JoinSet, block_in_place};

use super::{arguments, child, connect};
use crate::support::{Browser, Jar, increment, redis_servers::Server};

/// The line of a child process that waits for the next round.
const READY: &str = "ready";

/// Number of other visitors beside the second round.
const OTHERS: usize = 10;

/// The time between two requests of another visitor.
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_store_a_thousand_requests_at_once() {
    let test = "two_processes_store_a_thousand_requests_at_once";
    store_all(test, 2, 500, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_store_a_thousand_requests_at_once() {
    let test = "eight_processes_store_a_thousand_requests_at_once";
    store_all(test, 8, 125, 6).await;
}

/// Sends `requests` increments of one session from each of `processes` processes at once. Each
/// request may cause `limit` commands in the server on average, those of the scripts included. A second
/// round has other visitors beside it, and prints their times.
async fn store_all(test: &str, processes: u64, requests: u64, limit: u64) {
    if let Some(arguments) = arguments() {
        return send_rounds(&arguments[0], &arguments[1], requests).await;
    }
    let server = Server::start();
    let sessions = connect(&server.url()).await;
    let mut browser = visitor(&sessions).await;
    let arguments = format!("{} {}", server.url(), browser.cookie().unwrap());
    let children = (0..processes).map(|_| child(module_path!(), test, &arguments));
    let mut writers: Vec<Writer> = children.map(Writer::new).collect();
    writers.iter_mut().for_each(|it| drop(it.times(0)));
    let before = count_commands(&server);
    let alone = send_round(&mut writers, requests);
    let (total, commands) = (processes * requests, count_commands(&server) - before);
    assert!(commands <= total * limit, "{commands} commands");

    let ended = Arc::new(AtomicBool::new(false));
    let mut others = JoinSet::new();
    for _ in 0..OTHERS {
        let jar = visitor(&sessions).await.jar;
        others.spawn(send_others(sessions.clone(), jar, Arc::clone(&ended)));
    }
    let beside = block_in_place(|| send_round(&mut writers, requests));
    ended.store(true, Relaxed);
    let others = Times(others.join_all().await.concat());
    println!(
        "{processes} processes: {:.2} commands a request; {alone}; beside {OTHERS} others: {beside}; others: \
         {others}",
        commands as f64 / total as f64
    );
    writers.into_iter().for_each(Writer::end);
    let sum = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
    assert_eq!(sum, Some(2 * total));
}

/// Returns a visitor with a session.
async fn visitor(sessions: &Sessions) -> Browser {
    let mut browser = Browser::new(sessions);
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    browser
}

/// Sends requests of one visitor until the round has ended. Returns their times.
async fn send_others(sessions: Sessions, jar: Jar, ended: Arc<AtomicBool>) -> Vec<Duration> {
    let mut times = Vec::new();
    while !ended.load(Relaxed) {
        let begun = Instant::now();
        assert_eq!(increment(sessions.clone(), jar.clone()).await, 200);
        times.push(begun.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    times
}

/// Sends the requests of all processes at once. All must be stored.
fn send_round(writers: &mut [Writer], requests: u64) -> Times {
    writers.iter_mut().for_each(Writer::begin);
    let times = writers.iter_mut().flat_map(|it| it.times(requests));
    Times(times.collect())
}

/// A child process that sends requests.
struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    fn new(mut child: Child) -> Self {
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Begins a round.
    fn begin(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    /// Waits for the end of a round with so many requests. Returns their times.
    fn times(&mut self, requests: u64) -> Vec<Duration> {
        let mut times = Vec::new();
        for line in (&mut self.output).lines() {
            let line = line.unwrap();
            if line == READY {
                assert_eq!(times.len() as u64, requests);
                return times;
            }
            assert!(!line.starts_with(['4', '5']), "{line}");
            // The test harness prints lines of its own.
            if let Some(micros) = line.strip_prefix("200 ") {
                times.push(Duration::from_micros(micros.parse().unwrap()));
            }
        }
        panic!("it has ended");
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

/// The times of requests, printed with their 50th and 99th percentile and the maximum.
struct Times(Vec<Duration>);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.0.clone();
        times.sort_unstable();
        let percentile = |percent: usize| {
            let at = (times.len() * percent / 100).min(times.len() - 1);
            times[at].as_secs_f64() * 1e3
        };
        let (p50, p99, slowest) = (percentile(50), percentile(99), percentile(100));
        write!(
            f,
            "p50 {p50:.1} ms, p99 {p99:.1} ms, slowest {slowest:.1} ms"
        )
    }
}

/// The work of a child process: a round for each line of its input. Prints the status and the time of each
/// request, in microseconds.
async fn send_rounds(url: &str, cookie: &str, requests: u64) {
    let (sessions, mut jar) = (connect(url).await, Jar::default());
    jar.set("session", cookie);
    println!("{READY}");
    for _ in std::io::stdin().lines() {
        let begun = Instant::now();
        let running: Vec<_> = (0..requests)
            .map(|_| {
                let request = increment(sessions.clone(), jar.clone());
                tokio::spawn(async move { (request.await, begun.elapsed()) })
            })
            .collect();
        for request in running {
            let (status, time) = request.await.unwrap();
            println!("{status} {}", time.as_micros());
        }
        println!("{READY}");
    }
}

/// Returns the number of commands that the server has executed.
fn count_commands(server: &Server) -> u64 {
    let stats = server.send(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next().unwrap().parse::<u64>().unwrap();
        (name != "info").then_some(calls)
    });
    calls.sum()
}
