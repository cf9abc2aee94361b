//! The records that are evicted next.

use crate::{clock::Timestamp, id::StoreKey, store::Version};

/// The expiry, the version and the key of a record at the time of the sample. If the record was written or touched
/// since, it is not evicted.
pub(super) type EvictionCandidate = (Timestamp, Version, StoreKey);

/// The candidates of the last sample, and the position of the next one.
#[derive(Default)]
pub(super) struct EvictionPool {
    /// In descending order.
    candidates: Vec<EvictionCandidate>,
    partition: usize,
}

impl EvictionPool {
    /// Removes the candidate that expires first, and returns it.
    pub(super) fn pop(&mut self) -> Option<EvictionCandidate> {
        self.candidates.pop()
    }

    pub(super) fn add(&mut self, mut sample: Vec<EvictionCandidate>) {
        self.candidates.append(&mut sample);
        self.candidates
            .sort_unstable_by(|one, other| other.cmp(one));
    }

    /// Returns the number of the partition to sample next.
    pub(super) const fn next_partition(&mut self, partitions: usize) -> usize {
        let next = self.partition % partitions;
        self.partition = next + 1;
        next
    }
}
