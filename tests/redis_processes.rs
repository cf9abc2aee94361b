//! Two processes on one Redis: nothing is lost, nothing is doubled, nobody comes back.
//!
//! Each test starts its own program twice more, told by the environment to be a worker.
#![cfg(feature = "redis")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed unwrap is the verdict, and a worker reports by printing"
)]

mod redis_servers;

use std::{
    collections::{HashMap, HashSet},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hyper_session::{
    id::{Key, SessionId},
    store::{Expected, Read, Store, Written, redis::RedisStore},
};
use redis_servers::{
    Server,
    sessions::{HOUR, connect, created, key, record, words},
};

const ORDERS: &str = "REDIS_TEST_WORKER";

/// Starts this test's program again, as a worker with these orders.
fn worker(test: &str, orders: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
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
    Some(orders.split(' ').map(str::to_owned).collect())
}

/// A number for each bit of chance that a test needs.
fn chance(below: u64) -> u64 {
    let id = SessionId::generate().unwrap();
    let (bytes, _) = id.as_bytes().split_first_chunk().unwrap();
    u64::from_le_bytes(*bytes) % below
}

fn named(hex: &str) -> Key {
    let digits = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    Key::from_bytes(std::array::from_fn(digits))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_count_one_session_to_ten_thousand() {
    const TASKS: u64 = 4;
    if let Some(orders) = orders() {
        let store = RedisStore::connect(&orders[0]).await.unwrap();
        let key = named(&orders[1]);
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| tokio::spawn(count(store.clone(), key, 5_000 / TASKS)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        return;
    }
    let server = Server::start();
    let store = connect(&server).await;
    let key = key();
    let zero = store.write(&key, "0".into(), HOUR, Expected::Absent).await;
    assert!(matches!(zero, Ok(Written::Done(_))));
    let orders = format!("{} {key}", server.url());
    let test = "two_processes_count_one_session_to_ten_thousand";
    let workers = [worker(test, &orders), worker(test, &orders)];
    for worker in workers {
        tokio::task::block_in_place(|| report(worker));
    }
    assert_eq!(&*record(&store, &key).await.data, b"10000");
}

async fn count(store: RedisStore, key: Key, times: u64) {
    let mut seen = record(&store, &key).await;
    for _ in 0..times {
        loop {
            let number: u64 = std::str::from_utf8(&seen.data).unwrap().parse().unwrap();
            let next = bytes::Bytes::from((number + 1).to_string());
            let expected = Expected::Version(seen.version);
            match store
                .write(&key, next.clone(), HOUR, expected)
                .await
                .unwrap()
            {
                Written::Done(version) => {
                    (seen.data, seen.version) = (next, version);
                    break;
                }
                Written::Conflict(newer) => seen = newer,
                Written::Gone => panic!("the session is gone"),
            }
        }
    }
}

/// How many of the sessions are ended now and then; the others move to a new key.
const MORTAL: usize = 12;

/// The workers add words to sessions, and now and then end one, or move one to a new key as a
/// regenerated id does. They print what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_sessions_as_one_would() {
    if let Some(orders) = orders() {
        return share(&orders).await;
    }
    let server = Server::start();
    let store = connect(&server).await;
    let mut orders = server.url();
    let mut keys = Vec::new();
    for _ in 0..24 {
        let key = created(&store, HOUR).await;
        orders.push_str(&format!(" {key}"));
        keys.push(key);
    }
    let test = "two_processes_share_sessions_as_one_would";
    let workers = [worker(test, &orders), worker(test, &orders)];
    let reports = workers.map(|worker| tokio::task::block_in_place(|| report(worker)));

    let (mut added, mut ended) = (HashMap::<Key, Vec<String>>::new(), HashSet::new());
    let mut moves = 0;
    for line in reports.iter().flat_map(|report| report.lines()) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["added", key, word] => added.entry(named(key)).or_default().push(word.to_owned()),
            ["ended", key] => drop(ended.insert(named(key))),
            ["moved", _] => moves += 1,
            _ => {}
        }
    }
    assert!(added.values().map(Vec::len).sum::<usize>() > 500 && ended.len() > 2 && moves > 2);
    for key in &keys {
        if ended.contains(key) {
            assert_eq!(
                store.read(key, None).await.unwrap(),
                Read::Gone,
                "it came back"
            );
            continue;
        }
        let mut due = added.remove(key).unwrap_or_default();
        due.push("data".into());
        let mut found = words(&store, &newest(&store, *key).await).await;
        found.sort_unstable();
        due.sort_unstable();
        assert!(
            found == due,
            "{key}: each word once, and none that nobody wrote"
        );
    }
}

async fn share(orders: &[String]) {
    // The test's own name stands on this line.
    println!();
    let store = RedisStore::builder(&orders[0])
        .pool_size(3)
        .connect()
        .await
        .unwrap();
    let keys: Vec<Key> = orders[1..].iter().map(|hex| named(hex)).collect();
    let tasks: Vec<_> = (0..4)
        .map(|_| tokio::spawn(work(store.clone(), keys.clone())))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn work(store: RedisStore, keys: Vec<Key>) {
    let mut ended = HashSet::new();
    for turn in 0..400 {
        let place = usize::try_from(chance(keys.len() as u64)).unwrap();
        let key = keys[place];
        match chance(200) {
            0 if place < MORTAL => {
                store.destroy(&key).await.unwrap();
                ended.insert(key);
                println!("ended {key}");
            }
            0..10 if place >= MORTAL => {
                if move_on(&store, &newest(&store, key).await).await {
                    println!("moved {key}");
                }
            }
            1..10 => drop(store.touch(&key, HOUR).await.unwrap()),
            _ => {
                let word = format!("{}.{:x}.{turn}", std::process::id(), chance(u64::MAX));
                let before = ended.contains(&key);
                if add(&store, &newest(&store, key).await, &word).await {
                    assert!(!before, "a session that was ended took a write");
                    println!("added {key} {word}");
                }
            }
        }
        if turn % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for key in ended {
        assert_eq!(store.read(&key, None).await.unwrap(), Read::Gone);
    }
}

/// What stands in a session that has moved, before its new key.
const FENCE: &str = "moved-to ";

fn is_fence(data: &[u8]) -> bool {
    data.starts_with(FENCE.as_bytes())
}

/// Where the session has moved to, over all its moves.
async fn newest(store: &RedisStore, mut key: Key) -> Key {
    while let Read::Found(record) = store.read(&key, None).await.unwrap() {
        let text = std::str::from_utf8(&record.data).unwrap();
        let Some(hex) = text.strip_prefix(FENCE) else {
            break;
        };
        key = named(hex);
    }
    key
}

/// Moves a session as regenerating its id does: the new record first, and then a fence in place of
/// the old one, unless somebody wrote there meanwhile. `false` where another was faster.
async fn move_on(store: &RedisStore, from: &Key) -> bool {
    let Read::Found(mut seen) = store.read(from, None).await.unwrap() else {
        panic!("these sessions are not ended");
    };
    let (to, mut there) = (key(), Expected::Absent);
    let fence = format!("{FENCE}{to}");
    while !is_fence(&seen.data) {
        let new = store.write(&to, seen.data.clone(), HOUR, there).await;
        let Written::Done(version) = new.unwrap() else {
            panic!("nobody knows the new key yet");
        };
        there = Expected::Version(version);
        let expected = Expected::Version(seen.version);
        let old = store.write(from, fence.clone().into(), HOUR, expected);
        match old.await.unwrap() {
            Written::Done(_) => return true,
            Written::Conflict(newer) => seen = newer,
            Written::Gone => panic!("these sessions are not ended"),
        }
    }
    store.destroy(&to).await.unwrap();
    false
}

/// Adds a word; `false` where the session is gone, or has moved: slower writes are dropped.
async fn add(store: &RedisStore, key: &Key, word: &str) -> bool {
    let Read::Found(mut seen) = store.read(key, None).await.unwrap() else {
        return false;
    };
    while !is_fence(&seen.data) {
        let text = [&seen.data[..], b" ", word.as_bytes()].concat();
        let expected = Expected::Version(seen.version);
        match store.write(key, text.into(), HOUR, expected).await.unwrap() {
            Written::Done(_) => return true,
            Written::Conflict(newer) => seen = newer,
            Written::Gone => return false,
        }
    }
    false
}
