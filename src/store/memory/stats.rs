//! Counters of the memory store.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The size of a memory store, and how much it has removed since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Records, including expired records that are not freed yet.
    pub records: u64,
    /// Tombstones of destroyed sessions, including ended tombstones that are not freed yet.
    pub tombstones: u64,
    /// Bytes of data and tags, without the overhead of the maps.
    pub bytes: u64,
    /// Records freed because they had expired.
    pub expired: u64,
    /// Live records evicted because a limit was exceeded.
    pub evicted: u64,
    /// Tombstones evicted before their end because `max_tombstones` was exceeded.
    pub tombstones_evicted: u64,
}

/// The part of one slot in the store's size.
#[derive(Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) records: u64,
    pub(super) tombstones: u64,
    pub(super) bytes: u64,
}

/// The sum of all slots' weights, and counts of removals.
///
/// The weight of a slot and the sum change under the same shard lock. A weight is never subtracted
/// before it was added, so no sum falls below zero.
#[derive(Default)]
pub(super) struct MemoryCounters {
    records: AtomicU64,
    tombstones: AtomicU64,
    bytes: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) tombstones_evicted: AtomicU64,
}

impl MemoryCounters {
    /// Accounts for the change of one slot from `before` to `after`.
    pub(super) fn update(&self, before: Weight, after: Weight) {
        add_difference(&self.records, before.records, after.records);
        add_difference(&self.tombstones, before.tombstones, after.tombstones);
        add_difference(&self.bytes, before.bytes, after.bytes);
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    pub(super) fn tombstones(&self) -> u64 {
        self.tombstones.load(Relaxed)
    }

    /// Returns `true` if there is neither a record nor a tombstone.
    pub(super) fn is_empty(&self) -> bool {
        self.records() == 0 && self.tombstones() == 0
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(super) fn stats(&self) -> MemoryStats {
        MemoryStats {
            records: self.records(),
            tombstones: self.tombstones(),
            bytes: self.bytes(),
            expired: self.expired.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            tombstones_evicted: self.tombstones_evicted.load(Relaxed),
        }
    }
}

/// Adds `after - before` modulo 2^64, so that one instruction serves growth and shrinking.
fn add_difference(sum: &AtomicU64, before: u64, after: u64) {
    if before != after {
        sum.fetch_add(after.wrapping_sub(before), Relaxed);
    }
}
