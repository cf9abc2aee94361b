//! The maintenance thread. It collects expired entries, compacts, writes hints and creates segments.

use std::{
    mem::take,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::segment::Compactor;
use crate::{
    store::file::{
        error::FileError,
        event::FileEvent,
        log::{engine::FileEngine, group_commit::push_waiter, index::INDEX_SHARDS},
        stats::add,
    },
    sync::lock,
};

/// The time between two rounds without a wakeup.
const TICK: Duration = Duration::from_secs(1);
/// Number of index shards that one tick sweeps: the whole index in four ticks.
const SHARDS_PER_TICK: usize = INDEX_SHARDS / 4;

/// The state that the maintenance thread shares with the store.
#[derive(Default)]
pub(crate) struct Maintenance {
    requests: Mutex<MaintenanceRequests>,
    /// The last round failed, so no mutation waits for a compaction.
    failing: AtomicBool,
    /// The time of the last check of the store's paths.
    paths_checked: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct MaintenanceRequests {
    /// Mutations that wait until the debt is smaller.
    waiters: Vec<oneshot::Sender<()>>,
    /// Requests to compact the whole log.
    compactions: Vec<oneshot::Sender<Result<(), FileError>>>,
    /// The thread has ended.
    ended: bool,
}

impl Maintenance {
    /// Returns a receiver that a mutation must wait for before it is answered. Returns `None` if the
    /// debt is small.
    pub(crate) fn backpressure(&self, engine: &FileEngine) -> Option<oneshot::Receiver<()>> {
        if !engine.is_overdue() || self.failing.load(Ordering::Relaxed) {
            return None;
        }
        let mut requests = lock(&self.requests);
        if requests.ended {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        push_waiter(&mut requests.waiters, sender);
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
        let wakeup = engine.log.wakeup();
        let mut shard = 0;
        let mut last_sweep = Instant::now();
        while !wakeup.is_stopped() {
            self.report(engine, self.check_paths_if_due(engine));
            self.report(engine, engine.log.prepare_next());
            self.report(engine, self.compact_if_needed(engine));
            self.write_hints(engine);
            self.run_compactions(engine);
            if last_sweep.elapsed() >= TICK {
                last_sweep = Instant::now();
                for _ in 0..SHARDS_PER_TICK {
                    sweep(engine, shard);
                    shard = (shard + 1) % INDEX_SHARDS;
                    self.report(engine, self.compact_if_needed(engine));
                }
            }
            wakeup.sleep(TICK.saturating_sub(last_sweep.elapsed()));
        }
        let mut requests = lock(&self.requests);
        requests.ended = true;
        requests.waiters.clear();
        requests.compactions.clear();
    }

    /// Checks the store's paths, unless that was done within the last tick.
    fn check_paths_if_due(&self, engine: &FileEngine) -> Result<(), FileError> {
        let mut checked = lock(&self.paths_checked);
        if checked.is_some_and(|checked| checked.elapsed() < TICK) {
            return Ok(());
        }
        *checked = Some(Instant::now());
        engine.log.check_paths()
    }

    /// Reports a failure, and releases the mutations that wait for the failed work.
    fn report(&self, engine: &FileEngine, result: Result<(), FileError>) {
        let failed = match result {
            Ok(()) => false,
            Err(FileError::Poisoned { .. } | FileError::PathChanged { .. } | FileError::Closed) => {
                true
            }
            // The cause may be that the directory was deleted, which is reported instead.
            Err(_) if engine.log.check_paths().is_err() => true,
            Err(error) => {
                let event = FileEvent::CompactionFailed { error: &error };
                engine.log.options().emit(&event);
                true
            }
        };
        self.failing.store(failed, Ordering::Relaxed);
        if failed {
            self.clear_debt(engine);
            // Wakeups are ignored meanwhile, since the next round would fail at once.
            engine.log.wakeup().sleep_while(TICK, || true);
        }
    }

    fn clear_debt(&self, engine: &FileEngine) {
        engine.clear_debt();
        self.wake_waiters(engine);
    }

    /// Releases the mutations that wait, if the debt is small enough.
    fn wake_waiters(&self, engine: &FileEngine) {
        if engine.is_overdue() {
            return;
        }
        for waiter in take(&mut lock(&self.requests).waiters) {
            // The receiver may have been dropped; its mutation is applied all the same.
            let _ = waiter.send(());
        }
    }

    fn compact_if_needed(&self, engine: &FileEngine) -> Result<(), FileError> {
        let compactor = Compactor(engine);
        while compactor.is_needed() && !engine.log.wakeup().is_stopped() {
            compactor.compact_oldest(|bytes| self.throttle(engine, bytes))?;
            engine.log.prepare_next()?;
        }
        self.clear_debt(engine);
        Ok(())
    }

    /// Subtracts `bytes` from the debt, and pauses while there is no debt. Returns `false` after the
    /// stop.
    fn throttle(&self, engine: &FileEngine, bytes: u64) -> bool {
        engine.pay_debt(bytes);
        self.wake_waiters(engine);
        let wakeup = engine.log.wakeup();
        let mut pause = Compactor(engine).pause_after(bytes);
        while !pause.is_zero() && !engine.has_debt() && !wakeup.is_stopped() {
            let slice = pause.min(TICK);
            wakeup.sleep_while(slice, || !engine.has_debt());
            pause -= slice;
            // A change makes the compaction fail.
            let _ = self.check_paths_if_due(engine);
        }
        !wakeup.is_stopped()
    }

    fn write_hints(&self, engine: &FileEngine) {
        for segment in engine.log.take_segments_without_hint() {
            if engine.log.wakeup().is_stopped() {
                return;
            }
            // Without a hint, the next opening only takes longer, so no event is emitted.
            let _ = engine.log.write_hint(&segment);
        }
    }

    /// Executes the requests to compact the whole log.
    fn run_compactions(&self, engine: &FileEngine) {
        for request in take(&mut lock(&self.requests).compactions) {
            for shard in 0..INDEX_SHARDS {
                sweep(engine, shard);
            }
            let _ = request.send(Compactor(engine).compact_all());
        }
    }
}

/// Collects the expired entries of one shard and reports their number.
pub(crate) fn sweep(engine: &FileEngine, shard: usize) {
    let entries = engine.collect_expired(shard);
    if entries > 0 {
        engine.log.options().emit(&FileEvent::Expired { entries });
    }
}
