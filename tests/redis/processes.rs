//! Several processes, each with several `Sessions`, on one Redis. Nothing is lost, nothing is applied
//! twice, no ended session returns.
//!
//! Each test starts its own program again several times; an environment variable makes them child processes.
//! The random test prints its seed. `REDIS_PROCESSES_SEED` repeats a run with the same actions of
//! every worker in the same order. The interleaving of the workers depends on the machine.

mod hot_session;
mod ledger;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hyper_session::{Sessions, store::RedisStore};
use ledger::Ledger;
use serde_json::{Map, Value, json};
use tokio::task::LocalSet;
use worker::{ENDED_BY_ID, ENDED_BY_TAG, NEVER_ENDED, SESSIONS, open, owner_tag};

use crate::support::{Browser, config, redis_servers::Server, test_name};

const ARGUMENTS: &str = "REDIS_TEST_WORKER";
const SEED: &str = "REDIS_PROCESSES_SEED";

/// Workers in each process.
const WORKERS: u64 = 4;

/// Starts a test of this program again as a child process with these arguments.
fn child(module: &str, test: &str, arguments: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test_name(module, test)])
        .args(["--nocapture", "--test-threads", "1"])
        .env(ARGUMENTS, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a child process to succeed and returns its output.
fn output(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "a child process has failed");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the arguments if this is a child process.
fn arguments() -> Option<Vec<String>> {
    let arguments = std::env::var(ARGUMENTS).ok()?;
    // Ends the line that starts with the test's own name.
    println!();
    Some(arguments.split(' ').map(str::to_owned).collect())
}

/// Returns sessions whose requests do not fail on a slow machine.
async fn connect(url: &str) -> Sessions {
    let [command, operation, commit] = [30, 60, 120].map(Duration::from_secs);
    let builder = RedisStore::builder(url).command_timeout(command);
    let store = builder.operation_timeout(operation).pool_size(3);
    let config = config().commit_timeout(commit);
    Sessions::new(config, store.connect().await.unwrap()).unwrap()
}

#[tokio::test]
async fn two_processes_count_one_session_to_ten_thousand() {
    const WORKERS: u64 = 2;
    const TIMES: u64 = 5_000 / WORKERS;
    if let Some(arguments) = arguments() {
        let sessions = connect(&arguments[0]).await;
        let local = LocalSet::new();
        let workers = [(); WORKERS as usize].map(|()| {
            let mut browser = Browser::new(&sessions);
            browser.jar.set("session", &arguments[1]);
            local.spawn_local(async move {
                for _ in 0..TIMES {
                    browser.visit(async |s| s.increment("n").unwrap()).await;
                }
            })
        });
        local.await;
        for worker in workers {
            worker.await.expect("each request succeeds");
        }
        return;
    }
    let server = Server::start();
    let mut browser = Browser::new(&connect(&server.url()).await);
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    let arguments = format!("{} {}", server.url(), browser.cookie().unwrap());
    let test = "two_processes_count_one_session_to_ten_thousand";
    let children = [(); 2].map(|()| child(module_path!(), test, &arguments));
    for child in children {
        tokio::task::spawn_blocking(|| output(child)).await.unwrap();
    }
    let count = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
    assert_eq!(count, Some(10_000));
}

/// The expected state of a session at the end, from the acknowledgements that the workers print.
#[derive(Default)]
struct Model {
    data: Map<String, Value>,
    count: u64,
    tags: BTreeSet<String>,
    /// The cookies of all ids that the session has had.
    cookies: Vec<String>,
    is_ended: bool,
    /// The events that say that a request destroyed the session.
    destroyed_events: usize,
}

impl Model {
    /// Applies one line of a child's output; ignores a line that is no acknowledgement.
    fn apply(models: &mut [Self], line: &str, actions: &mut BTreeMap<String, usize>) {
        let words: Vec<&str> = line.split(' ').collect();
        let ["did", action, session, rest @ ..] = &words[..] else {
            return;
        };
        *actions.entry((*action).to_owned()).or_default() += 1;
        let model = &mut models[session.parse::<usize>().unwrap()];
        match (*action, rest) {
            ("add", [name, amount]) => {
                let amount: u64 = amount.parse().unwrap();
                model.count += amount;
                let before = model.data.insert((*name).to_owned(), amount.into());
                assert!(before.is_none(), "each name is used once");
            }
            ("forget", [name]) => {
                model.data.remove(*name).expect("it was added");
            }
            ("tag", [tag]) => drop(model.tags.insert((*tag).to_owned())),
            ("regenerate", [cookie]) => model.cookies.push((*cookie).to_owned()),
            ("end", []) => model.is_ended = true,
            ("destroy", []) => model.destroyed_events += 1,
            ("old_cookie" | "conflict" | "write_dropped" | "not_found", []) => {}
            other => panic!("unknown action: {other:?}"),
        }
    }

    async fn check(mut self, session: usize, sessions: &Sessions, newest: &str) {
        let (collection, owner) = (sessions.collection(), owner_tag(session));
        let events = self.destroyed_events;
        assert!(events <= 1, "session {session} ended {events} times");
        for cookie in &self.cookies {
            let alive = !self.is_ended && cookie == newest;
            let (data, key) = open(sessions, cookie).await;
            assert_eq!(
                !data.is_empty(),
                alive,
                "session {session}: an old id is dead"
            );
            if alive {
                self.data.insert("name".into(), json!(session));
                self.data.insert("n".into(), json!(self.count));
                let data = Value::Object(data).to_string();
                let expected = Value::Object(std::mem::take(&mut self.data)).to_string();
                assert_eq!(
                    data, expected,
                    "session {session}: all acknowledged changes, once"
                );
                assert_eq!(collection.tagged(&owner).await.unwrap(), [key]);
                for tag in &self.tags {
                    assert_eq!(collection.tagged(tag).await.unwrap(), [key], "{tag}");
                }
            }
        }
        if self.is_ended {
            for tag in self.tags.iter().chain([&owner]) {
                let keys = collection.tagged(tag).await.unwrap();
                assert!(keys.is_empty(), "session {session} returned: {keys:?}");
            }
        }
    }
}

/// Returns a random seed, or the one of a run to repeat.
fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
    }
}

/// The workers change sessions, regenerate their ids, end them, and use old cookies.
#[tokio::test]
async fn two_processes_share_sessions_as_one_would() {
    let test = "two_processes_share_sessions_as_one_would";
    if let Some(arguments) = arguments() {
        let [url, number, seed] = &arguments[..] else {
            panic!("{arguments:?}");
        };
        let seed = seed.parse().unwrap();
        return worker::run_all(url, number.parse().unwrap(), seed, WORKERS).await;
    }
    let seed = seed();
    println!("to repeat the same actions: {SEED}={seed}");
    let server = Server::start();
    let (sessions, ledger) = (
        connect(&server.url()).await,
        Ledger::open(&server.url()).await,
    );
    let mut models = Vec::new();
    for session in 0..SESSIONS {
        let cookie = worker::create_session(&sessions, session).await;
        ledger.set_cookie(session, &cookie).await;
        models.push(Model {
            cookies: vec![cookie],
            ..Model::default()
        });
    }
    let children = [0, 1].map(|number| {
        let arguments = format!("{} {number} {seed}", server.url());
        child(module_path!(), test, &arguments)
    });
    let mut actions = BTreeMap::new();
    for child in children {
        let output = tokio::task::spawn_blocking(|| output(child)).await.unwrap();
        for line in output.lines() {
            Model::apply(&mut models, line, &mut actions);
        }
    }
    println!("{actions:?}");
    for (action, min) in [
        ("add", 500),
        ("forget", 20),
        ("tag", 20),
        ("regenerate", 20),
        ("end", 10),
        ("destroy", 5),
        ("old_cookie", 20),
        ("conflict", 1),
        ("write_dropped", 1),
    ] {
        assert!(
            actions.get(action).is_some_and(|times| *times >= min),
            "too few of {action}: {actions:?}"
        );
    }
    let ended = |range: std::ops::Range<usize>| range.filter(|at| models[*at].is_ended).count();
    assert!(ended(ENDED_BY_ID) > 0 && ended(ENDED_BY_TAG) > 0 && ended(NEVER_ENDED) == 0);
    for (session, model) in models.into_iter().enumerate() {
        let newest = ledger.cookie(session).await;
        model.check(session, &sessions, &newest).await;
    }
}
