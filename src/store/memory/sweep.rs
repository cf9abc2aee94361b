//! Removal of expired entries, and eviction when a limit is exceeded.

use std::{
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    thread,
};

use smallvec::SmallVec;
use tokio::{runtime::Handle, task};

use super::{
    key_queue::{KeyQueue, SweepBatch, is_oversized},
    slot::{SlotState, TableSlot},
    sweep_timer::SweepTimer,
    table::Table,
};
use crate::{clock::Timestamp, id::StoreKey};

/// Number of entries that an eviction compares to find the one that ends first.
const SAMPLE: usize = 8;

/// Number of keys of the live queue that one search for a tombstone sorts into the right queues.
const SORT_BATCH: usize = 64;

/// Number of keys that the background task inspects before it yields.
const TASK_BATCH: usize = 256;

/// Number of sweeps in which the background task inspects the whole store. A round then takes a minute.
const SWEEPS_PER_ROUND: usize = 60;

/// The kind of an entry that has not ended. It names the queue that the key belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotKind {
    Live,
    Tombstone,
}

/// Every method here that pops keys pushes each of them again, unless it removed the key from the
/// map.
impl Table {
    /// Inspects the next `count` keys and removes the ended ones. Returns the number of removed keys.
    pub(super) fn sweep(&self, count: usize) -> usize {
        let tombstones = self.tombstone_queue.pop_batch(count / 2);
        let live = self.live_queue.pop_batch(count - tombstones.len());
        self.sweep_batch(live) + self.sweep_batch(tombstones)
    }

    /// Inspects every key once. Returns the number of removed keys.
    pub(super) fn sweep_all(&self) -> usize {
        let sweep = |queue: &KeyQueue| {
            let keys = queue.len();
            let batches = (0..keys).step_by(TASK_BATCH);
            batches
                .map(|done| self.sweep_batch(queue.pop_batch(TASK_BATCH.min(keys - done))))
                .sum::<usize>()
        };
        sweep(&self.tombstone_queue) + sweep(&self.live_queue)
    }

    fn sweep_batch(&self, keys: SweepBatch) -> usize {
        let total = keys.len();
        let kept = keys
            .into_iter()
            .filter_map(|key| Some((key, self.inspect(&key)?)));
        total
            - kept
                .map(|(key, (kind, _))| self.queue(kind).push(key))
                .count()
    }

    /// Evicts records until the store is within its limits, but not `written`, the record just
    /// written.
    pub(super) fn make_room(&self, written: &StoreKey) {
        while self.exceeds_limits() && self.evict_one(SlotKind::Live, written) {}
    }

    /// Evicts tombstones until the store is within its limit, but not `written`, the tombstone just
    /// written.
    ///
    /// Tombstones of records that were live at their last inspection are still in the live queue. If
    /// the tombstone queue has none to evict, this sorts some keys of the live queue.
    pub(super) fn make_room_for_tombstones(&self, written: &StoreKey) {
        while self.counters.tombstones() > self.settings.max_tombstones {
            if !self.evict_one(SlotKind::Tombstone, written) {
                self.sweep_batch(self.live_queue.pop_batch(SORT_BATCH));
                if !self.evict_one(SlotKind::Tombstone, written) {
                    return;
                }
            }
        }
    }

    fn exceeds_limits(&self) -> bool {
        self.counters.records() > self.settings.max_records
            || self.counters.bytes() > self.settings.max_bytes
    }

    /// Removes the ended entries among the next keys of this kind. If none has ended, evicts the one
    /// that ends first, but not `written`. Returns `false` if nothing was removed.
    fn evict_one(&self, kind: SlotKind, written: &StoreKey) -> bool {
        let (sample, removed_ended) = self.sample(kind);
        let candidates = sample
            .iter()
            .filter(|(_, key)| !removed_ended && key != written);
        let victim = candidates.min().copied();
        let mut removed = removed_ended;
        for candidate in sample {
            if victim == Some(candidate) && self.evict(&candidate.1, kind) {
                removed = true;
            } else {
                self.queue(kind).push(candidate.1);
            }
        }
        removed
    }

    /// Pops the next keys of this kind, with the ends of their entries. Stops after a batch in which
    /// it removed an ended entry, and returns `true` then.
    fn sample(&self, kind: SlotKind) -> (SmallVec<[(Timestamp, StoreKey); SAMPLE]>, bool) {
        let (mut sample, mut removed_ended) = (SmallVec::new(), false);
        while sample.len() < SAMPLE && !removed_ended {
            let keys = self.queue(kind).pop_batch(SAMPLE - sample.len());
            if keys.is_empty() {
                break;
            }
            for key in keys {
                match self.inspect(&key) {
                    Some((actual, end)) if actual == kind => sample.push((end, key)),
                    Some((actual, _)) => self.queue(actual).push(key),
                    None => removed_ended = true,
                }
            }
        }
        (sample, removed_ended)
    }

    /// Removes an entry of this kind before its end. Returns `false` if its kind has changed.
    fn evict(&self, key: &StoreKey, kind: SlotKind) -> bool {
        let removed = self.remove_if(key, |state| match state {
            SlotState::Live(_) => kind == SlotKind::Live,
            SlotState::Gone => kind == SlotKind::Tombstone,
            SlotState::Absent => true,
        });
        let weight = removed.unwrap_or_default();
        self.counters.evicted.fetch_add(weight.records, Relaxed);
        self.counters
            .tombstones_evicted
            .fetch_add(weight.tombstones, Relaxed);
        removed.is_some()
    }

    /// Returns the kind and the end of the entry under `key`. Returns `None` if it had ended and was
    /// removed.
    fn inspect(&self, key: &StoreKey) -> Option<(SlotKind, Timestamp)> {
        let slot = self.slots.get(key)?;
        let live = match (slot.state_at(self.settings.clock.now()), slot.value()) {
            (SlotState::Live(live), _) => Some((SlotKind::Live, live.expires)),
            (SlotState::Gone, TableSlot::Tombstone(end)) => Some((SlotKind::Tombstone, *end)),
            _ => None,
        };
        drop(slot);
        live.or_else(|| self.remove_ended(key))
    }

    /// Removes the entry under `key` if it has ended. If it was written after its inspection, treats
    /// it like a record that was just touched.
    fn remove_ended(&self, key: &StoreKey) -> Option<(SlotKind, Timestamp)> {
        match self.remove_if(key, |state| matches!(state, SlotState::Absent)) {
            Some(weight) => {
                self.counters.expired.fetch_add(weight.records, Relaxed);
                None
            }
            None => Some((SlotKind::Live, Timestamp::MAX)),
        }
    }

    /// Frees the memory that a larger number of entries needed. Locks one shard or stripe at a time.
    fn shrink(&self) {
        if is_oversized(self.slots.capacity(), self.slots.len()) {
            self.slots.shrink_to_fit();
        }
        self.live_queue.shrink();
        self.tombstone_queue.shrink();
        self.tag_index.shrink();
    }

    const fn queue(&self, kind: SlotKind) -> &KeyQueue {
        match kind {
            SlotKind::Live => &self.live_queue,
            SlotKind::Tombstone => &self.tombstone_queue,
        }
    }

    /// Starts the background task unless it runs already or there is no tokio runtime.
    pub(super) fn ensure_sweeper(this: &Arc<Self>) {
        if this.sweeper_running.load(Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current()
            && !this.sweeper_running.swap(true, AcqRel)
        {
            let timer = SweepTimer::new(&runtime, &this.settings.clock);
            runtime.spawn(sweep_task(SweeperGuard(Arc::downgrade(this)), timer));
        }
    }
}

/// Sweeps a store until its last clone is dropped or the runtime ends.
async fn sweep_task(guard: SweeperGuard, timer: SweepTimer) {
    while sweep_round(&guard.0, timer).await.is_some() {}
}

/// Inspects the whole store in a minute, then frees what it no longer needs. Returns `None` if the store is
/// dropped.
async fn sweep_round(store: &Weak<Table>, timer: SweepTimer) -> Option<()> {
    // The rate may rise in a round, but not fall: the keys that remain wait behind those that were
    // inspected and stay.
    let mut batches = 1;
    for _ in 0..SWEEPS_PER_ROUND {
        timer.wait().await;
        let keys = store.upgrade()?.slots.len();
        batches = batches.max(keys.div_ceil(SWEEPS_PER_ROUND * TASK_BATCH));
        for _ in 0..batches {
            store.upgrade()?.sweep(TASK_BATCH);
            task::yield_now().await;
        }
    }
    store.upgrade()?.shrink();
    Some(())
}

/// The background task's reference to its store. It does not keep the store alive.
struct SweeperGuard(Weak<Table>);

impl Drop for SweeperGuard {
    /// Allows another task to start if the store outlives this one because the runtime ended first.
    /// A panic means that the program's runtimes have no timer. Then no other task may start.
    fn drop(&mut self) {
        if let Some(table) = self.0.upgrade()
            && !thread::panicking()
        {
            table.sweeper_running.store(false, Release);
        }
    }
}
