//! The maintenance thread. It collects expired entries, compacts, writes hints and creates segments.

use std::{
    mem::{replace, take},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::segment::Compactor;
use crate::{
    store::file::{
        error::FileError,
        event::FileEvent,
        log::{
            engine::FileEngine,
            group_commit::{UserItems, push_waiter, send},
            index::INDEX_SHARDS,
        },
        stats::add,
    },
    sync::lock,
};

/// The time between two rounds without a wakeup.
const TICK: Duration = Duration::from_secs(1);
/// The minimum time between two checks of the store's paths, and the longest sleep. The time between two
/// checks is at most twice this, unless a disk operation takes long.
const PATH_CHECK_INTERVAL: Duration = Duration::from_millis(450);
/// Maximum number of segments that are compacted before the thread does its other work. Mutations may take the room
/// as fast as compactions free it.
const MAX_COMPACTIONS: usize = 16;
/// Number of index shards that one tick sweeps: the whole index in four ticks.
const SHARDS_PER_TICK: usize = INDEX_SHARDS / 4;

/// The state that the maintenance thread shares with the store.
#[derive(Default)]
pub(crate) struct Maintenance {
    requests: Mutex<MaintenanceRequests>,
    /// A mutation waits for a compaction.
    awaited: AtomicBool,
    /// The time of the last check of the store's paths.
    paths_checked: Mutex<Option<Instant>>,
    /// The time at which the next segment could not be created, if that failed last.
    creation_failed: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct MaintenanceRequests {
    /// Mutations that wait until a compaction has made room.
    waiters: Vec<oneshot::Sender<()>>,
    /// Requests to compact the whole log.
    compactions: Vec<oneshot::Sender<Result<(), FileError>>>,
    /// The thread has ended.
    ended: bool,
}

/// Ends the work of the thread on drop, also after a panic. No operation waits for a thread that has ended.
struct MaintenanceGuard<'a>(&'a Maintenance, &'a FileEngine);

impl Drop for MaintenanceGuard<'_> {
    fn drop(&mut self) {
        let Self(maintenance, engine) = self;
        if thread::panicking() {
            engine.log.poison_after_panic();
        }
        let ended = MaintenanceRequests {
            ended: true,
            ..MaintenanceRequests::default()
        };
        let requests = replace(&mut *lock(&maintenance.requests), ended);
        drop(UserItems(requests.waiters));
        drop(UserItems(requests.compactions));
    }
}

impl Maintenance {
    /// Returns a receiver that completes when a compaction may have made room. Returns `None` if the last
    /// compaction failed.
    pub(crate) fn wait_for_room(&self, engine: &FileEngine) -> Option<oneshot::Receiver<()>> {
        if engine.compaction_failed.load(Ordering::Relaxed) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let mut requests = lock(&self.requests);
        if !requests.ended {
            push_waiter(&mut requests.waiters, sender);
            self.awaited.store(true, Ordering::Relaxed);
        }
        drop(requests);
        add(&engine.log.counters().waits, 1);
        engine.log.wakeup().notify();
        Some(receiver)
    }

    /// Requests a compaction of the whole log. The receiver fails if the store is closed first.
    pub(crate) fn compact(&self, engine: &FileEngine) -> oneshot::Receiver<Result<(), FileError>> {
        let (sender, receiver) = oneshot::channel();
        let mut requests = lock(&self.requests);
        if !requests.ended {
            push_waiter(&mut requests.compactions, sender);
        }
        drop(requests);
        engine.log.wakeup().notify();
        receiver
    }

    /// Runs the thread until it is stopped.
    pub(crate) fn run(&self, engine: &FileEngine) {
        let _guard = MaintenanceGuard(self, engine);
        let wakeup = engine.log.wakeup();
        let mut shard = 0;
        let mut last_sweep = wakeup.now();
        while !wakeup.is_stopped() {
            self.report(engine, self.check_paths_if_due(engine));
            self.prepare_next(engine);
            self.report(engine, self.compact_if_needed(engine));
            self.write_hints(engine);
            self.run_compactions(engine);
            if wakeup.now() - last_sweep >= TICK {
                last_sweep = wakeup.now();
                self.report(engine, self.sweep_shards(engine, &mut shard));
            }
            let pause = TICK.saturating_sub(wakeup.now() - last_sweep);
            wakeup.sleep(pause.min(PATH_CHECK_INTERVAL));
        }
    }

    /// Checks the store's paths, unless that was done within the last interval.
    fn check_paths_if_due(&self, engine: &FileEngine) -> Result<(), FileError> {
        let mut checked = lock(&self.paths_checked);
        let now = engine.log.wakeup().now();
        if checked.is_some_and(|checked| now - checked < PATH_CHECK_INTERVAL) {
            return Ok(());
        }
        *checked = Some(now);
        engine.log.check_paths().map(drop)
    }

    /// Reports a failure, and releases the mutations that wait for the failed work.
    fn report(&self, engine: &FileEngine, result: Result<(), FileError>) {
        let failed = match result {
            Ok(()) => false,
            Err(
                FileError::Poisoned { .. }
                | FileError::Panicked { .. }
                | FileError::PathChanged { .. }
                | FileError::LimitExceeded { .. }
                | FileError::Closed,
            ) => true,
            // The cause may be that the directory was deleted, which is reported instead.
            Err(_) if engine.log.check_paths().is_err() => true,
            Err(error) => {
                let event = FileEvent::CompactionFailed { error: &error };
                engine.log.options().emit(&event);
                true
            }
        };
        engine.compaction_failed.store(failed, Ordering::Relaxed);
        if failed {
            self.wake_waiters();
            // Wakeups are ignored meanwhile, since the next round would fail at once.
            for _ in 0..2 {
                engine
                    .log
                    .wakeup()
                    .sleep_while(PATH_CHECK_INTERVAL, || true);
                // The next round reports the change again.
                let _ = self.check_paths_if_due(engine);
            }
        }
    }

    /// Creates the next segment early. A failure ends no other work, since the active segment may exceed its length.
    /// While it may fail again, each write wakes the thread, so the next attempt is later.
    fn prepare_next(&self, engine: &FileEngine) {
        let now = engine.log.wakeup().now();
        let mut failed = lock(&self.creation_failed);
        if failed.is_some_and(|failed| now - failed < TICK) {
            return;
        }
        *failed = None;
        let Err(error) = engine.log.prepare_next() else {
            return;
        };
        *failed = Some(now);
        drop(failed);
        // If the store has stopped, another event reports the cause.
        if engine.log.lock_writable().is_ok() && engine.log.check_paths().is_ok() {
            let event = FileEvent::CompactionFailed { error: &error };
            engine.log.options().emit(&event);
        }
    }

    /// Wakes the mutations that wait for room. Those for which there is too little wait again.
    fn wake_waiters(&self) {
        let mut requests = lock(&self.requests);
        self.awaited.store(false, Ordering::Relaxed);
        let waiters = take(&mut requests.waiters);
        drop(requests);
        for waiter in waiters {
            // The receiver may have been dropped; then its mutation is not executed.
            send(waiter, ());
        }
    }

    fn compact_if_needed(&self, engine: &FileEngine) -> Result<(), FileError> {
        let wakeup = engine.log.wakeup();
        let is_needed = || Compactor(engine).is_needed() || self.awaited.load(Ordering::Relaxed);
        for _ in 0..MAX_COMPACTIONS {
            if !is_needed() || wakeup.is_stopped() {
                return Ok(());
            }
            self.compact_oldest(engine)?;
        }
        // The next round continues without a sleep.
        wakeup.notify();
        Ok(())
    }

    fn compact_oldest(&self, engine: &FileEngine) -> Result<(), FileError> {
        Compactor(engine).compact_oldest(|bytes| self.throttle(engine, bytes))?;
        engine.update_tight();
        self.wake_waiters();
        self.prepare_next(engine);
        Ok(())
    }

    /// Collects the expired entries of the next shards, from `shard` on. If a compaction fails, the next round
    /// continues, so that the failure delays no other work.
    fn sweep_shards(&self, engine: &FileEngine, shard: &mut usize) -> Result<(), FileError> {
        for _ in 0..SHARDS_PER_TICK {
            let current = *shard;
            *shard = (current + 1) % INDEX_SHARDS;
            self.collect_expired(engine, current)?;
            self.compact_if_needed(engine)?;
        }
        Ok(())
    }

    /// Collects the expired entries of one shard. Compacts segments if there is too little room for more garbage.
    /// If mutations take that room, a later round collects the rest.
    fn collect_expired(&self, engine: &FileEngine, shard: usize) -> Result<(), FileError> {
        for _ in 0..MAX_COMPACTIONS {
            if sweep(engine, shard) || engine.log.wakeup().is_stopped() {
                return Ok(());
            }
            self.compact_oldest(engine)?;
        }
        Ok(())
    }

    /// Pauses after reading `bytes`, unless mutations wait or may soon have to. Returns `false` after
    /// the stop.
    fn throttle(&self, engine: &FileEngine, bytes: u64) -> bool {
        engine.update_tight();
        // A change makes the compaction fail.
        let _ = self.check_paths_if_due(engine);
        let wakeup = engine.log.wakeup();
        let may_pause = || !engine.is_tight() && !self.awaited.load(Ordering::Relaxed);
        let mut pause = Compactor(engine).pause_after(bytes);
        while !pause.is_zero() && may_pause() && !wakeup.is_stopped() {
            let slice = pause.min(PATH_CHECK_INTERVAL);
            wakeup.sleep_while(slice, may_pause);
            pause -= slice;
            let _ = self.check_paths_if_due(engine);
        }
        !wakeup.is_stopped()
    }

    fn write_hints(&self, engine: &FileEngine) {
        for segment in engine.log.segments_without_hint() {
            let has_changed = self.check_paths_if_due(engine).is_err();
            if has_changed || engine.log.wakeup().is_stopped() {
                return;
            }
            // Without a hint, the next opening only takes longer, so no event is emitted.
            let _ = engine.log.write_hint(&segment);
        }
    }

    /// Executes the requests to compact the whole log.
    fn run_compactions(&self, engine: &FileEngine) {
        // Not in the head of the loop: there, the lock would be held while compactions need it.
        let mut requests = UserItems(take(&mut lock(&self.requests).compactions));
        requests.0.reverse();
        while !requests.0.is_empty() {
            let collected =
                (0..INDEX_SHARDS).try_for_each(|shard| self.collect_expired(engine, shard));
            let step = |_| {
                let _ = self.check_paths_if_due(engine);
                true
            };
            let after_segment = || self.wake_waiters();
            let compacted =
                collected.and_then(|()| Compactor(engine).compact_all(step, after_segment));
            if let Some(request) = requests.0.pop() {
                send(request, compacted);
            }
        }
    }
}

/// Collects the expired entries of one shard and reports their number. Returns `false` if there was no
/// room to collect all.
pub(crate) fn sweep(engine: &FileEngine, shard: usize) -> bool {
    let (entries, complete) = engine.collect_expired(shard);
    if entries > 0 {
        engine.log.options().emit(&FileEvent::Expired { entries });
    }
    complete
}
