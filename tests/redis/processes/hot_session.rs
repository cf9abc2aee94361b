//! Requests of several processes change one session at once. All are stored, with few commands.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout},
};

use super::{arguments, child, connect};
use crate::support::{Browser, Jar, increment, redis_servers::Server};

const READY: &str = "ready";

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
/// request may cause `limit` commands in the server on average, those of the scripts included.
async fn store_all(test: &str, processes: u64, requests: u64, limit: u64) {
    if let Some(arguments) = arguments() {
        return send_all(&arguments[0], &arguments[1], requests).await;
    }
    let server = Server::start();
    let mut browser = Browser::new(&connect(&server.url()).await);
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    let arguments = format!("{} {}", server.url(), browser.cookie().unwrap());
    let children: Vec<_> = (0..processes)
        .map(|_| child(module_path!(), test, &arguments))
        .map(wait_until_ready)
        .collect();
    let before = count_commands(&server);
    let inputs = children.into_iter().map(|(mut child, output)| {
        drop(child.stdin.take());
        (child, output)
    });
    for (mut child, mut output) in inputs.collect::<Vec<_>>() {
        let mut statuses = String::new();
        output.read_to_string(&mut statuses).unwrap();
        assert!(child.wait().unwrap().success(), "{statuses}");
        let stored = statuses.lines().filter(|line| *line == "200").count();
        assert_eq!(stored as u64, requests, "{statuses}");
    }
    let (total, commands) = (processes * requests, count_commands(&server) - before);
    assert!(commands <= total * limit, "{commands} commands");
    let sum = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
    assert_eq!(sum, Some(total));
}

/// Waits until a child process has connected. It sends its requests when its input is closed.
fn wait_until_ready(mut child: Child) -> (Child, BufReader<ChildStdout>) {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != READY {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "it has ended");
    }
    (child, output)
}

/// The work of a child process. Prints the status of each request.
async fn send_all(url: &str, cookie: &str, requests: u64) {
    let (sessions, mut jar) = (connect(url).await, Jar::default());
    jar.set("session", cookie);
    println!("{READY}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let requests: Vec<_> = (0..requests)
        .map(|_| tokio::spawn(increment(sessions.clone(), jar.clone())))
        .collect();
    for request in requests {
        println!("{}", request.await.unwrap());
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
