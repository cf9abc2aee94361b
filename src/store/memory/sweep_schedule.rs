//! The positions of the sweeps.

use crate::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// Number of entries that a new key inspects on average.
const PER_NEW_KEY: isize = 2;

/// The partitions that new keys and the sweeper's thread visit next.
#[derive(Default)]
pub(super) struct SweepSchedule {
    /// Number of entries that new keys have to inspect. Negative after a large partition.
    due: AtomicIsize,
    partition: AtomicUsize,
    partition_of_thread: AtomicUsize,
}

impl SweepSchedule {
    /// Accounts for a new key. Returns `true` if at least `batch` entries are due.
    pub(super) fn add_key(&self, batch: usize) -> bool {
        let before = self.due.fetch_add(PER_NEW_KEY, Relaxed);
        before + PER_NEW_KEY >= batch as isize
    }

    /// Accounts for inspected entries.
    pub(super) fn subtract(&self, inspected: usize) {
        self.due.fetch_sub(inspected as isize, Relaxed);
    }

    /// Returns the number of the partition that a new key visits next.
    pub(super) fn next_partition(&self, partitions: usize) -> usize {
        self.partition.fetch_add(1, Relaxed) % partitions
    }

    /// Returns the number of the partition that the thread visits next.
    pub(super) fn next_partition_of_thread(&self, partitions: usize) -> usize {
        self.partition_of_thread.fetch_add(1, Relaxed) % partitions
    }
}
