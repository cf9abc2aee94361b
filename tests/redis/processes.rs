//! Two processes, each with engines of its own, on one Redis: nothing is lost, nothing is doubled,
//! nobody comes back.
//!
//! Each test starts its own program twice more, told by the environment to be a worker. A run of
//! chance prints its seed when it fails; `REDIS_PROCESSES_SEED` runs it again, with every visitor
//! doing the same things in the same order. How the visitors meet is up to the machine.

mod board;
mod visitor;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
};

use board::Board;
use hyper_session::{Sessions, store::RedisStore};
use serde_json::{Map, Value, json};
use tokio::task::LocalSet;
use visitor::{BY_ID, BY_TAG, LIVING, SESSIONS, open, owner};

use crate::support::{Browser, config, redis_servers::Server, test_name};

const ORDERS: &str = "REDIS_TEST_WORKER";
const SEED: &str = "REDIS_PROCESSES_SEED";

/// Visitors in each process.
const VISITORS: u64 = 4;

/// Starts this test's program again, as a worker with these orders.
fn worker(test: &str, orders: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test_name(module_path!(), test)])
        .args(["--nocapture", "--test-threads", "1"])
        .env(ORDERS, orders)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a worker has printed, once it has ended well.
fn report(worker: Child) -> String {
    let output = worker.wait_with_output().unwrap();
    assert!(output.status.success(), "a worker has failed");
    String::from_utf8(output.stdout).unwrap()
}

/// The words of the orders, where this process is a worker.
fn orders() -> Option<Vec<String>> {
    let orders = std::env::var(ORDERS).ok()?;
    // The test's own name stands on this line.
    println!();
    Some(orders.split(' ').map(str::to_owned).collect())
}

async fn engine(url: &str) -> Sessions {
    let store = RedisStore::builder(url).pool_size(3).connect().await;
    Sessions::new(config(), store.unwrap()).unwrap()
}

#[tokio::test]
async fn two_processes_count_one_session_to_ten_thousand() {
    const VISITORS: u64 = 2;
    const TIMES: u64 = 5_000 / VISITORS;
    if let Some(orders) = orders() {
        let sessions = engine(&orders[0]).await;
        let visitors = LocalSet::new();
        for _ in 0..VISITORS {
            let mut browser = Browser::new(&sessions);
            browser.jar.set("session", &orders[1]);
            visitors.spawn_local(async move {
                for _ in 0..TIMES {
                    browser.visit(async |s| s.increment("n").unwrap()).await;
                }
            });
        }
        return visitors.await;
    }
    let server = Server::start();
    let mut browser = Browser::new(&engine(&server.url()).await);
    browser.visit(async |s| s.put("n", &0).unwrap()).await;
    let orders = format!("{} {}", server.url(), browser.cookie().unwrap());
    let test = "two_processes_count_one_session_to_ten_thousand";
    let workers = [worker(test, &orders), worker(test, &orders)];
    for worker in workers {
        tokio::task::spawn_blocking(|| report(worker))
            .await
            .unwrap();
    }
    let count = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
    assert_eq!(count, Some(10_000));
}

/// What the workers were told of a session: what must be there at the end, and what must not.
#[derive(Default)]
struct Model {
    data: Map<String, Value>,
    count: u64,
    tags: BTreeSet<String>,
    /// Every id that it ever had, as cookies.
    cookies: Vec<String>,
    is_ended: bool,
}

impl Model {
    /// Takes over what a worker reports; whatever is no report is let through.
    fn take(models: &mut [Self], line: &str, acts: &mut BTreeMap<String, usize>) {
        let words: Vec<&str> = line.split(' ').collect();
        let ["did", act, place, rest @ ..] = &words[..] else {
            return;
        };
        *acts.entry((*act).to_owned()).or_default() += 1;
        let model = &mut models[place.parse::<usize>().unwrap()];
        match (*act, rest) {
            ("add", [name, by]) => {
                let by: u64 = by.parse().unwrap();
                model.count += by;
                let before = model.data.insert((*name).to_owned(), by.into());
                assert!(before.is_none(), "each name is used once");
            }
            ("forget", [name]) => {
                model.data.remove(*name).expect("it was added");
            }
            ("tag", [tag]) => drop(model.tags.insert((*tag).to_owned())),
            ("move", [cookie]) => model.cookies.push((*cookie).to_owned()),
            ("end", []) => model.is_ended = true,
            ("knock" | "conflict" | "drop" | "late", []) => {}
            other => panic!("what is {other:?}?"),
        }
    }

    async fn check(mut self, place: usize, sessions: &Sessions, newest: &str) {
        let (all, tagged) = (sessions.collection(), owner(place));
        for cookie in &self.cookies {
            let alive = !self.is_ended && cookie == newest;
            let (found, key) = open(sessions, cookie).await;
            assert_eq!(
                !found.is_empty(),
                alive,
                "session {place}: an old id is dead"
            );
            if alive {
                self.data.insert("name".into(), json!(place));
                self.data.insert("n".into(), json!(self.count));
                let found = Value::Object(found).to_string();
                let due = Value::Object(std::mem::take(&mut self.data)).to_string();
                assert_eq!(
                    found, due,
                    "session {place}: all that was acknowledged, once"
                );
                assert_eq!(all.tagged(&tagged).await.unwrap(), [key]);
                for tag in &self.tags {
                    assert_eq!(all.tagged(tag).await.unwrap(), [key], "{tag}");
                }
            }
        }
        if self.is_ended {
            for tag in self.tags.iter().chain([&tagged]) {
                let left = all.tagged(tag).await.unwrap();
                assert!(left.is_empty(), "session {place} came back: {left:?}");
            }
        }
    }
}

/// Chance, or what a run of before had.
fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
    }
}

/// The visitors change sessions, give them new ids, end them, and come back with old cookies.
#[tokio::test]
async fn two_processes_share_sessions_as_one_would() {
    let test = "two_processes_share_sessions_as_one_would";
    if let Some(orders) = orders() {
        let [url, number, seed] = &orders[..] else {
            panic!("{orders:?}");
        };
        let seed = seed.parse().unwrap();
        return visitor::work(url, number.parse().unwrap(), seed, VISITORS).await;
    }
    let seed = seed();
    println!("again with the same acts: {SEED}={seed}");
    let server = Server::start();
    let (sessions, board) = (
        engine(&server.url()).await,
        Board::open(&server.url()).await,
    );
    let mut models = Vec::new();
    for place in 0..SESSIONS {
        let cookie = visitor::begin(&sessions, place).await;
        board.post(place, &cookie).await;
        models.push(Model {
            cookies: vec![cookie],
            ..Model::default()
        });
    }
    let workers = [0, 1].map(|number| worker(test, &format!("{} {number} {seed}", server.url())));
    let mut acts = BTreeMap::new();
    for worker in workers {
        let report = tokio::task::spawn_blocking(|| report(worker))
            .await
            .unwrap();
        for line in report.lines() {
            Model::take(&mut models, line, &mut acts);
        }
    }
    println!("{acts:?}");
    for (act, least) in [
        ("add", 500),
        ("forget", 20),
        ("tag", 20),
        ("move", 20),
        ("end", 10),
        ("knock", 20),
        ("conflict", 1),
        ("drop", 1),
    ] {
        assert!(
            acts.get(act).is_some_and(|times| *times >= least),
            "too few of {act}: {acts:?}"
        );
    }
    let ended = |places: std::ops::Range<usize>| places.filter(|at| models[*at].is_ended).count();
    assert!(ended(BY_ID) > 0 && ended(BY_TAG) > 0 && ended(LIVING) == 0);
    for (place, model) in models.into_iter().enumerate() {
        model
            .check(place, &sessions, &board.posted(place).await)
            .await;
    }
}
