//! A process that writes to the store is killed repeatedly. All acknowledged writes must be stored
//! afterwards.
//!
//! `FILE_KILL_ROUNDS` sets the number of rounds (15).

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{
        Expected, FileStore, ReadOutcome, Store, Tag, TagStore, Tags, WriteOutcome, WriteRequest,
        file::Durability,
    },
};

use crate::support::{
    scratch::{Scratch, key},
    test_name,
};

const DIRECTORY: &str = "FILE_KILL_DIRECTORY";
const WRITERS: u64 = 8;
/// The number of sessions of each writer.
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

/// The last state of each session by writer and number: the turn that wrote it, or `None` if it was
/// destroyed.
type States = BTreeMap<(u64, u64), Option<u64>>;

/// The child process: writes, and prints a line before each operation and after its acknowledgement.
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
                .map(|writer| tokio::spawn(write_until_killed(store.clone(), writer, start)))
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
        });
}

async fn write_until_killed(store: FileStore, writer: u64, start: u64) {
    for turn in start.. {
        let session = turn * 7 % SESSIONS;
        let key = key(writer * SESSIONS + session);
        if turn % 5 == 4 {
            print_line(&format!("try {writer} {session} -"));
            store.destroy(&key).await.unwrap();
            print_line(&format!("done {writer} {session} -"));
        } else {
            print_line(&format!("try {writer} {session} {turn}"));
            let request = WriteRequest::new(&key, data(writer, turn), LIFE, Expected::Any);
            let mut tags = Tags::new();
            tags.insert(&tag(writer)).unwrap();
            let outcome = store.write(request.tags(tags)).await;
            assert!(matches!(outcome.unwrap(), WriteOutcome::Done(_)));
            store.touch(&key, LIFE * 2).await.unwrap();
            print_line(&format!("done {writer} {session} {turn}"));
        }
    }
}

/// Writes one line to the pipe by one call; it is short enough to be written as a whole.
fn print_line(line: &str) {
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
async fn acknowledged_writes_of_a_killed_process_are_stored() {
    let rounds = std::env::var("FILE_KILL_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let scratch = Scratch::new();
    let (mut acknowledged, mut attempted) = (States::new(), States::new());
    let (mut count, mut newest) = (0, 0);
    for round in 0..rounds.unwrap_or(15_u64) {
        let (mut child, lines) = start(scratch.path());
        // Each round kills the process after another time.
        let time = Duration::from_millis(30 + round * 37 % 190);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(time);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        count += read_output(lines, &mut acknowledged, &mut attempted);
        killer.join().unwrap();
        newest = check(scratch.path(), &mut acknowledged, &mut attempted, newest).await;
    }
    assert!(count > 0, "the child wrote something");
    println!("{count} acknowledged");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_copy_of_the_directory_of_a_paused_process_has_all_acknowledged_writes() {
    let (scratch, backup) = (Scratch::new(), Scratch::new());
    let (mut acknowledged, mut attempted) = (States::new(), States::new());
    let (mut child, mut lines) = start(scratch.path());
    let mut output = String::new();
    // Enough for several segments, so that compaction has begun.
    while output.matches("#done").count() < 1_000 {
        assert!(lines.read_line(&mut output).unwrap() > 0, "the child lives");
    }
    pause(&child);
    let copied = copy(scratch.path(), backup.path());
    child.kill().unwrap();
    child.wait().unwrap();
    copied.unwrap();
    let output = output.as_bytes().chain(lines);
    assert!(read_output(output, &mut acknowledged, &mut attempted) >= 1_000);
    assert!(
        !backup.path().join("0000000001.log").exists(),
        "compaction has run"
    );
    check(backup.path(), &mut acknowledged, &mut attempted, 0).await;
}

#[cfg(target_os = "linux")]
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for file in from.read_dir()? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// Stops all threads of the child.
#[cfg(target_os = "linux")]
fn pause(child: &Child) {
    let id = child.id();
    let kill = Command::new("sh")
        .args(["-c", &format!("kill -STOP {id}")])
        .status();
    assert!(kill.unwrap().success());
    let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        status.contains("State:\tT")
    };
    let tasks = format!("/proc/{id}/task");
    while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads the output of the child until it is dead. Returns the number of acknowledged operations.
fn read_output(lines: impl BufRead, acknowledged: &mut States, attempted: &mut States) -> u64 {
    let mut count = 0;
    let begin = Instant::now();
    for line in lines.lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [event @ ("#try" | "#done"), writer, session, turn] = words[..] else {
            continue;
        };
        let session = (writer.parse().unwrap(), session.parse().unwrap());
        let turn = turn.parse().ok();
        match event {
            "#try" => {
                attempted.insert(session, turn);
            }
            "#done" => {
                acknowledged.insert(session, turn);
                attempted.remove(&session);
                count += 1;
            }
            _ => {}
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "the child is dead by now"
        );
    }
    count
}

/// Checks that every session has its last acknowledged state, or that of the last attempt. Returns the
/// greatest version.
async fn check(
    directory: &Path,
    acknowledged: &mut States,
    attempted: &mut States,
    previous_version: u64,
) -> u64 {
    let store = open(directory);
    assert_eq!(store.stats().damaged, 0, "a killed process damages nothing");
    let mut newest = previous_version;
    let sessions: Vec<_> = acknowledged
        .keys()
        .chain(attempted.keys())
        .copied()
        .collect();
    for session in sessions {
        let (writer, number) = session;
        let key = key(writer * SESSIONS + number);
        let last = acknowledged.get(&session).copied();
        let allowed = [last, attempted.get(&session).copied()];
        let stored = read(&store, &key).await;
        let turn = allowed.iter().flatten().find(|turn| match (turn, &stored) {
            (Some(turn), Some((bytes, _))) => *bytes == data(writer, *turn),
            (None, None) => true,
            _ => false,
        });
        let unwritten = last.is_none() && stored.is_none();
        assert!(
            turn.is_some() || unwritten,
            "{session:?} is {stored:?}, allowed are {allowed:?}"
        );
        if let (Some(Some(_)), Some((_, version))) = (turn, &stored) {
            newest = newest.max(*version);
        }
        let tagged = store.tagged(&tag(writer)).await.unwrap();
        assert_eq!(
            tagged.contains(&key),
            stored.is_some(),
            "every record has its tag"
        );
        attempted.remove(&session);
        acknowledged.insert(session, turn.copied().flatten());
    }
    let request = WriteRequest::new(&key(1 << 40), Bytes::new(), LIFE, Expected::Any);
    let outcome = store.write(request).await.unwrap();
    let WriteOutcome::Done(version) = outcome else {
        panic!("the store accepts writes again");
    };
    assert!(version.get() > newest, "versions never go back");
    store.close().await.unwrap();
    version.get()
}

async fn read(store: &FileStore, key: &StoreKey) -> Option<(Bytes, u64)> {
    match store.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => Some((record.data, record.version.get())),
        ReadOutcome::Absent | ReadOutcome::Gone => None,
    }
}
