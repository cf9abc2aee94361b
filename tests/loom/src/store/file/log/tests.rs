use std::{sync::Arc, time::Duration};

use loom::{future::block_on, thread};

use super::{engine::FileEngine, group_commit::GroupCommit, wakeup::Wakeup, write::PendingWrite};
use crate::{
    model,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        set_clock,
    },
};

const STEP: Duration = Duration::from_millis(1);
const FOREVER: Duration = Duration::from_secs(1_000_000);

#[derive(Default)]
struct Log {
    engine: FileEngine,
    group: GroupCommit,
}

impl Log {
    fn start(step: Duration) -> Arc<Self> {
        set_clock(step);
        Arc::default()
    }

    /// Writes a frame. Returns `false` if the thread has ended before.
    fn write(&self) -> bool {
        let receiver = self.group.write(&self.engine, PendingWrite).unwrap();
        let Ok(reply) = block_on(receiver) else {
            return false;
        };
        assert!(reply.unwrap().0 <= self.engine.log.durable());
        true
    }

    /// Appends a frame and waits for the next sync. Returns `false` if the thread has ended before.
    fn append(&self) -> bool {
        let position = self.engine.log.append();
        let is_synced = block_on(self.group.wait_for_sync()).is_ok();
        assert!(!is_synced || position <= self.engine.log.durable());
        is_synced
    }
}

fn run(log: &Arc<Log>, run: impl FnOnce(&Log) + 'static) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || run(&log))
}

#[test]
fn each_writer_of_a_group_is_answered_after_the_sync_of_its_write() {
    for step in [Duration::ZERO, STEP] {
        model(2, move || {
            let log = Log::start(step);
            let committer = run(&log, |log| log.group.run_always(&log.engine));
            let writer = run(&log, |log| assert!(log.write()));
            assert!(log.append());
            writer.join().unwrap();
            log.group.stop();
            committer.join().unwrap();
            assert_eq!(log.group.backlog_bytes(), 0);
        });
    }
}

#[test]
fn a_writer_that_writes_again_is_answered_again() {
    model(2, || {
        let log = Log::start(Duration::ZERO);
        let committer = run(&log, |log| log.group.run_always(&log.engine));
        assert!(log.write() && log.write());
        log.group.stop();
        committer.join().unwrap();
    });
}

/// No wait times out here, so a group that waits for one writer too many waits for ever.
#[test]
fn a_writer_that_writes_again_is_counted_once() {
    model(3, || {
        let log = Log::start(Duration::ZERO);
        log.engine.log.set_sync_time(STEP);
        let committer = run(&log, |log| log.group.run_always(&log.engine));
        assert!(log.write() && log.write() && log.write());
        log.group.stop();
        committer.join().unwrap();
    });
}

#[test]
fn no_writer_waits_for_a_thread_that_has_stopped() {
    model(2, || {
        let log = Log::start(Duration::ZERO);
        let committer = run(&log, |log| log.group.run_always(&log.engine));
        let writer = run(&log, |log| {
            let (is_written, is_synced) = (log.write(), log.append());
            assert!(is_written || !is_synced);
        });
        log.group.stop();
        committer.join().unwrap();
        writer.join().unwrap();
        assert_eq!(log.group.backlog_bytes(), 0);
    });
}

#[test]
fn each_append_is_synced_after_the_interval_although_none_follows() {
    for step in [Duration::ZERO, STEP] {
        model(2, move || {
            let log = Log::start(step);
            let syncer = run(&log, move |log| log.group.run_interval(&log.engine, step));
            let append = |log: &Log| {
                let position = log.engine.log.append();
                log.group.mark_dirty();
                log.engine.log.wait_until_durable(position);
            };
            let writer = run(&log, append);
            append(&log);
            writer.join().unwrap();
            log.group.stop();
            syncer.join().unwrap();
        });
    }
}

#[test]
fn no_wakeup_of_the_maintenance_thread_is_lost() {
    model(3, || {
        set_clock(Duration::ZERO);
        let shared: Arc<(Wakeup, AtomicUsize)> = Arc::default();
        let notify = |(wakeup, work): &(Wakeup, AtomicUsize)| {
            work.fetch_add(1, Relaxed);
            wakeup.notify();
        };
        let other = Arc::clone(&shared);
        let notifier = thread::spawn(move || notify(&other));
        let other = Arc::clone(&shared);
        let sleeper = thread::spawn(move || {
            let (wakeup, work) = &*other;
            while work.load(Relaxed) < 2 {
                wakeup.sleep(FOREVER);
            }
        });
        notify(&shared);
        notifier.join().unwrap();
        sleeper.join().unwrap();
    });
}

#[test]
fn the_maintenance_thread_stops() {
    model(3, || {
        set_clock(Duration::ZERO);
        let wakeup: Arc<Wakeup> = Arc::default();
        let other = Arc::clone(&wakeup);
        let sleeper = thread::spawn(move || {
            while !other.is_stopped() {
                other.sleep(FOREVER);
            }
        });
        wakeup.notify();
        wakeup.stop();
        sleeper.join().unwrap();
    });
}
