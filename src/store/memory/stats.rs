//! The store's figures of its own size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a memory store holds, and what it has dropped since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Records, those that are expired but not freed yet among them.
    pub records: u64,
    /// Tombstones of destroyed sessions, those that have ended but are not freed yet among them.
    pub tombstones: u64,
    /// Bytes of data and of the records' tag names. The index around them comes on top.
    pub bytes: u64,
    /// Records freed because they had expired.
    pub expired: u64,
    /// Live records dropped because a limit was reached.
    pub evicted: u64,
    /// Tombstones dropped before their time because there were too many.
    pub fences_dropped: u64,
}

/// What one slot adds to the store's size.
#[derive(Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) records: u64,
    pub(super) tombstones: u64,
    pub(super) bytes: u64,
}

/// The sum of all slots' weights, and counts of what was dropped.
///
/// A slot's weight changes only while its shard is locked, and the sum is changed under the same
/// lock: a slot is never taken away before it was added, so no sum ever falls below zero.
#[derive(Default)]
pub(super) struct Counters {
    records: AtomicU64,
    tombstones: AtomicU64,
    bytes: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) fences_dropped: AtomicU64,
}

impl Counters {
    /// Accounts for one slot's change from `before` to `after`.
    pub(super) fn shift(&self, before: Weight, after: Weight) {
        shift(&self.records, before.records, after.records);
        shift(&self.tombstones, before.tombstones, after.tombstones);
        shift(&self.bytes, before.bytes, after.bytes);
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    pub(super) fn tombstones(&self) -> u64 {
        self.tombstones.load(Relaxed)
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
            fences_dropped: self.fences_dropped.load(Relaxed),
        }
    }
}

/// Adds the difference, modulo 2^64, so that one instruction serves growth and shrinking.
fn shift(sum: &AtomicU64, before: u64, after: u64) {
    if before != after {
        sum.fetch_add(after.wrapping_sub(before), Relaxed);
    }
}
