use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use loom::{future::block_on, thread};

use super::queue::{CommitQueues, JobReply, QueueEntry, Ticket, Work};
use crate::{
    id::StoreKey,
    model,
    runtime::{RuntimeState, set_runtime},
    session::{
        engine::Engine,
        state::{Changes, decode},
    },
    store::{Expected, ReadOutcome, WriteOutcome},
    sync::{Instant, set_clock},
};

const KEY: StoreKey = StoreKey::from_bytes([1; StoreKey::LEN]);

fn engine(runtime: RuntimeState) -> Arc<Engine> {
    set_clock(Duration::ZERO);
    set_runtime(runtime);
    Arc::default()
}

fn join(engine: &Arc<Engine>, work: Work, entry: QueueEntry) -> Ticket {
    let deadline = Instant::now() + engine.policy.commit_timeout;
    let joined = CommitQueues::join(engine, KEY, work, deadline, entry);
    joined.map_err(|_| "full").unwrap()
}

/// Commits work. Joins again if the worker asks for it, as a commit of the library does.
fn commit(engine: &Arc<Engine>, mut work: Work) -> JobReply {
    let mut entry = QueueEntry::First(None);
    loop {
        match block_on(join(engine, work, entry)).unwrap() {
            JobReply::Rejoin(again) => (work, entry) = (again, QueueEntry::Again),
            reply => return reply,
        }
    }
}

fn change(number: u8) -> Work {
    Work::Store(Box::new(Changes(number)))
}

fn store(engine: &Arc<Engine>, number: u8) {
    match commit(engine, change(number)) {
        JobReply::Stored(stored) => assert!(stored.record.data.contains(&number)),
        other => panic!("{other:?}"),
    }
}

fn stored(engine: &Engine) -> Vec<u8> {
    match block_on(engine.backend.store().read(&KEY, None)).unwrap() {
        ReadOutcome::Found(record) => record.data.to_vec(),
        _ => Vec::new(),
    }
}

fn spawn(engine: &Arc<Engine>, run: impl FnOnce(&Arc<Engine>) + 'static) -> thread::JoinHandle<()> {
    let engine = Arc::clone(engine);
    thread::spawn(move || run(&engine))
}

fn check_two_commits(runtime: RuntimeState) {
    model(2, move || {
        let engine = engine(runtime);
        let other = spawn(&engine, |engine| store(engine, 1));
        store(&engine, 2);
        other.join().unwrap();
        let mut numbers = stored(&engine);
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2], "each change is stored once");
    });
}

#[test]
fn commits_at_once_are_each_stored_once() {
    check_two_commits(RuntimeState::Runs);
}

#[test]
fn commits_without_a_runtime_are_each_stored_once() {
    check_two_commits(RuntimeState::Absent);
}

#[test]
fn commits_are_each_stored_once_although_the_runtime_has_ended() {
    check_two_commits(RuntimeState::Ended);
}

#[test]
fn a_dropped_commit_takes_no_other_with_it() {
    for runtime in [RuntimeState::Runs, RuntimeState::Absent] {
        model(2, move || {
            let engine = engine(runtime);
            let other = spawn(&engine, |engine| store(engine, 1));
            {
                let mut dropped = pin!(join(&engine, change(2), QueueEntry::First(None)));
                let _ = dropped
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
            }
            other.join().unwrap();
            let numbers = stored(&engine);
            let count = |number| numbers.iter().filter(|found| **found == number).count();
            assert!(count(1) == 1 && count(2) <= 1, "{numbers:?}");
        });
    }
}

#[test]
fn a_commit_in_its_turn_writes_alone() {
    model(2, || {
        let engine = engine(RuntimeState::Runs);
        let other = spawn(&engine, |engine| store(engine, 1));
        let JobReply::Turn(turn) = commit(&engine, Work::Turn { bytes: 1 }) else {
            panic!("the commit gets a turn");
        };
        let backend = engine.backend.store();
        let (expected, next) = match block_on(backend.read(&KEY, None)).unwrap() {
            ReadOutcome::Found(record) => {
                let decoded = decode(&engine, &record).unwrap();
                let next = Changes(2).apply(&engine, &decoded, None).unwrap();
                (Expected::Version(record.version), next)
            }
            _ => {
                let first = Changes(2).first_record();
                let next = Changes(2).apply(&engine, &first, None).unwrap();
                (Expected::Absent, next)
            }
        };
        let request = next.encode(&engine).to_request(&engine, &KEY, expected);
        let written = block_on(backend.write(request)).unwrap();
        assert!(matches!(written, WriteOutcome::Done(_)));
        drop(turn);
        other.join().unwrap();
        let mut numbers = stored(&engine);
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2], "each change is stored once");
    });
}
