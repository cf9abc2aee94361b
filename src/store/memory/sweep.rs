//! Removal of ended entries in bounded steps.

use std::{mem, sync::atomic::Ordering::Relaxed};

use super::{
    partitions::shrink, slot::TableSlot, stats::Weight, table::Table,
    tombstone_queue::QueuedTombstone,
};

/// Number of entries that a sweep inspects, at least.
const BATCH: usize = 128;

/// Maximum number of entries that one visit of a partition removes.
const MAX_REMOVALS: usize = 1_024;

/// Number of sweeps in which the thread visits all partitions: those of a minute.
const SHARES: usize = 60;

/// The result of one visit of a partition.
#[derive(Clone, Copy, Default)]
pub(super) struct PartitionSweep {
    inspected: usize,
    pub(super) removed: usize,
    /// The visit removed as many entries as it may. Others may have ended.
    is_partial: bool,
}

impl Table {
    /// Sweeps a part of the store when it is due. Every new key calls this, after it is stored.
    pub(super) fn sweep_for_new_key(&self) {
        if !self.sweep_schedule.add_key(BATCH) {
            return;
        }
        let mut inspected = self.sweep_tombstones(BATCH);
        let partitions = self.slots.partitions().len();
        for _ in 0..partitions {
            if inspected >= BATCH {
                break;
            }
            let next = self.sweep_schedule.next_partition(partitions);
            inspected += self.sweep_partition(next).inspected;
        }
        self.sweep_schedule.subtract(inspected.max(BATCH));
    }

    /// Visits all partitions, and frees what is not needed. Returns the number of removed keys.
    pub(super) fn sweep_all(&self) -> usize {
        let mut removed = 0;
        for number in 0..self.slots.partitions().len() {
            loop {
                let visit = self.sweep_partition(number);
                removed += visit.removed;
                if !visit.is_partial {
                    break;
                }
            }
            self.shrink_partition(number);
        }
        while self.sweep_tombstones(BATCH) == BATCH {}
        removed
    }

    /// Removes the ended entries of a partition, up to a limit.
    ///
    /// The shards are locked one after the other. A record with tags is removed under a lock of its own, since its
    /// removal may copy a bucket of the tag index. The other removed records are dropped without a lock.
    pub(super) fn sweep_partition(&self, number: usize) -> PartitionSweep {
        let Some(partition) = self.slots.partitions().get(number) else {
            return PartitionSweep::default();
        };
        let now = self.settings.clock.now();
        let (mut inspected, mut removed) = (0, Vec::new());
        let mut tagged = Vec::new();
        partition.retain(|key, slot| {
            inspected += 1;
            if !slot.has_ended(now) || removed.len() + tagged.len() == MAX_REMOVALS {
                return true;
            }
            if slot.tags().is_some() {
                tagged.push(*key);
                return true;
            }
            self.account(key, Some(slot), None);
            removed.push(mem::replace(slot, TableSlot::ENDED));
            false
        });
        let is_partial = removed.len() + tagged.len() == MAX_REMOVALS;
        let mut weights: Vec<Weight> = removed.iter().map(TableSlot::weight).collect();
        weights.extend(
            tagged
                .iter()
                .filter_map(|key| self.remove_if(key, TableSlot::has_ended))
                .map(|slot| slot.weight()),
        );
        let records = weights.iter().map(|weight| weight.records).sum();
        self.counters.expired.fetch_add(records, Relaxed);
        PartitionSweep {
            inspected,
            removed: weights.len(),
            is_partial,
        }
    }

    /// Takes ended tombstones out of the queue and removes them, at most `limit`. Returns the number of entries of
    /// the queue that it took.
    pub(super) fn sweep_tombstones(&self, limit: usize) -> usize {
        let now = self.settings.clock.now();
        let mut taken = 0;
        while taken < limit
            && let Some(entry) = self.tombstone_queue.pop(now)
        {
            self.remove_tombstone(entry);
            taken += 1;
        }
        taken
    }

    /// Removes the tombstone of an entry that was taken out of the queue. Returns `false` if it was not removed.
    ///
    /// It is kept if the session was destroyed again. Then it gets a new entry.
    pub(super) fn remove_tombstone(&self, (taken, key): QueuedTombstone) -> bool {
        let (mut removed, mut later) = (false, None);
        let partition = self.slots.partition(&key);
        partition.remove_if_mut(&key, |key, slot| {
            match slot {
                TableSlot::Tombstone { end, queued } if *queued == taken => {
                    later = (*end > taken).then_some(*end);
                    removed = later.is_none();
                    *queued = *end;
                }
                TableSlot::Tombstone { .. } | TableSlot::Live(_) => {}
            }
            if removed {
                self.account(key, Some(slot), None);
            }
            removed
        });
        if let Some(end) = later {
            self.tombstone_queue.push((end, key));
        }
        removed
    }

    /// Frees the memory that a larger number of entries needed.
    fn shrink_partition(&self, number: usize) {
        if let Some(partition) = self.slots.partitions().get(number) {
            shrink(partition);
        }
        // There are fewer of these.
        if let Some(partition) = self.tag_index.keys.partitions().get(number) {
            shrink(partition);
        }
    }

    /// Visits the next sixtieth of the partitions, or more while they have few entries.
    pub(super) fn sweep_share(&self) {
        while self.sweep_tombstones(BATCH) == BATCH {}
        let partitions = self.slots.partitions().len();
        let mut inspected = 0;
        for visited in 0..partitions {
            let is_share_done = visited >= partitions.div_ceil(SHARES);
            if is_share_done && (inspected >= BATCH || self.counters.is_empty()) {
                break;
            }
            let next = self.sweep_schedule.next_partition_of_thread(partitions);
            loop {
                let visit = self.sweep_partition(next);
                inspected += visit.inspected;
                if !visit.is_partial {
                    break;
                }
            }
            self.shrink_partition(next);
        }
    }
}
