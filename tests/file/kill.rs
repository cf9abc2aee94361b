//! A process that writes through the store is killed in the middle of it, again and again, and
//! whatever it was told had been written is there afterwards.
//!
//! `FILE_KILL_ROUNDS` sets how often (15).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{Expected, FileStore, ReadOutcome, Store, Tag, WriteOutcome, file::Durability},
};

use crate::support::{
    scratch::{Scratch, key},
    test_name,
};

const DIRECTORY: &str = "FILE_KILL_DIRECTORY";
const WRITERS: u64 = 8;
/// Each writer has so many sessions of its own.
const SESSIONS: u64 = 20;
const LIFE: Duration = Duration::from_secs(3600);

fn open(directory: &Path) -> FileStore {
    FileStore::builder(directory)
        .segment_bytes(64 << 10)
        .durability(Durability::Always)
        .tombstone_ttl(Duration::ZERO)
        .open()
        .unwrap()
}

fn tag(writer: u64) -> Tag {
    Tag::new(format!("writer-{writer}")).unwrap()
}

fn data(writer: u64, turn: u64) -> Bytes {
    Bytes::from(format!("{writer} {turn} ").repeat(1 + (turn % 60) as usize))
}

/// What a session was last told to be: the turn that wrote it, or gone.
type Told = BTreeMap<(u64, u64), Option<u64>>;

/// Sessions whose present state was acknowledged, and with it their tag.
type Tagged = BTreeSet<(u64, u64)>;

/// The child: writes, and says what was acknowledged, one line each, after the fact.
#[test]
fn the_process_that_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let store = open(Path::new(&directory));
            let start = std::process::id().into();
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| tokio::spawn(write_on(store.clone(), writer, start)))
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
        });
}

async fn write_on(store: FileStore, writer: u64, start: u64) {
    for turn in start.. {
        let session = turn * 7 % SESSIONS;
        let key = key(writer * SESSIONS + session);
        // What is about to be done is said first: it may or may not come to pass.
        if turn % 5 == 4 {
            say(&format!("try {writer} {session} -"));
            store.destroy(&key).await.unwrap();
            say(&format!("done {writer} {session} -"));
        } else {
            say(&format!("try {writer} {session} {turn}"));
            let answer = store
                .write(&key, data(writer, turn), LIFE, Expected::Any)
                .await;
            assert!(matches!(answer.unwrap(), WriteOutcome::Done(_)));
            store.tags().unwrap().tag(&key, &tag(writer)).await.unwrap();
            store.touch(&key, LIFE * 2).await.unwrap();
            say(&format!("done {writer} {session} {turn}"));
        }
    }
}

/// One write to the pipe, which is short enough not to be torn.
fn say(line: &str) {
    let line = format!("\n#{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

fn start(directory: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            &test_name(module_path!(), "the_process_that_is_killed"),
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_there() {
    let rounds = std::env::var("FILE_KILL_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let scratch = Scratch::new();
    let (mut told, mut tried, mut tagged) = (Told::new(), Told::new(), Tagged::new());
    let (mut acknowledged, mut newest) = (0, 0);
    for round in 0..rounds.unwrap_or(15_u64) {
        let (mut child, lines) = start(scratch.path());
        // Killed after some time under load, never at the same point.
        let time = Duration::from_millis(30 + round * 37 % 190);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(time);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        acknowledged += listen(lines, &mut told, &mut tried, &mut tagged);
        killer.join().unwrap();
        newest = check(scratch.path(), &mut told, &mut tried, &mut tagged, newest).await;
    }
    assert!(acknowledged > 0, "the child wrote something");
    println!("{acknowledged} acknowledged");
}

/// Follows what the child says until it is dead.
fn listen(
    lines: BufReader<ChildStdout>,
    told: &mut Told,
    tried: &mut Told,
    tagged: &mut Tagged,
) -> u64 {
    let mut acknowledged = 0;
    let begin = Instant::now();
    for line in lines.lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [what @ ("#try" | "#done"), writer, session, turn] = words[..] else {
            continue;
        };
        let place = (writer.parse().unwrap(), session.parse().unwrap());
        let turn = turn.parse().ok();
        match what {
            "#try" => {
                tried.insert(place, turn);
            }
            "#done" => {
                told.insert(place, turn);
                tagged.insert(place);
                tried.remove(&place);
                acknowledged += 1;
            }
            _ => {}
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "the child is dead by now"
        );
    }
    acknowledged
}

/// Every session is as it was last told to be, or as the last attempt wanted it.
async fn check(
    directory: &Path,
    told: &mut Told,
    tried: &mut Told,
    tagged: &mut Tagged,
    before: u64,
) -> u64 {
    let store = open(directory);
    assert_eq!(store.stats().damaged, 0, "a killed process damages nothing");
    let mut newest = before;
    let places: Vec<_> = told.keys().chain(tried.keys()).copied().collect();
    for place in places {
        let (writer, session) = place;
        let key = key(writer * SESSIONS + session);
        let allowed = [told.get(&place).copied(), tried.get(&place).copied()];
        let found = found(&store, &key).await;
        let turn = allowed.iter().flatten().find(|turn| match (turn, &found) {
            (Some(turn), Some((bytes, _))) => *bytes == data(writer, *turn),
            (None, None) => true,
            _ => false,
        });
        let unwritten = told.get(&place).is_none() && found.is_none();
        assert!(
            turn.is_some() || unwritten,
            "{place:?} was {allowed:?} and is {found:?}"
        );
        if let (Some(Some(_)), Some((_, version))) = (turn, &found) {
            newest = newest.max(*version);
        }
        let acknowledged = told.get(&place).copied().flatten();
        if tagged.contains(&place) && found.is_some() && turn == Some(&acknowledged) {
            let all = store.tags().unwrap().tagged(&tag(writer)).await.unwrap();
            assert!(all.contains(&key), "what was acknowledged carries its tag");
        }
        if tried.remove(&place).is_some() {
            tagged.remove(&place);
        }
        told.insert(place, turn.copied().flatten());
    }
    let answer = store
        .write(&key(1 << 40), Bytes::new(), LIFE, Expected::Any)
        .await
        .unwrap();
    let WriteOutcome::Done(version) = answer else {
        panic!("the store takes writes again");
    };
    assert!(version.get() > newest, "versions never go back");
    store.close().await.unwrap();
    version.get()
}

async fn found(store: &FileStore, key: &StoreKey) -> Option<(Bytes, u64)> {
    match store.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => Some((record.data, record.version.get())),
        ReadOutcome::Absent | ReadOutcome::Gone => None,
    }
}
