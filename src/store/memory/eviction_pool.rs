//! The records that are evicted next.

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::Version,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
        lock,
    },
};

/// The expiry, the version and the key of a record at the time of the sample. If the record was written or touched
/// since, it is not evicted.
pub(super) type EvictionCandidate = (Timestamp, Version, StoreKey);

/// The candidates of the last sample, and the position of the next one.
///
/// Lock order: a thread that holds the candidates may lock the record map and the tag index, never the other way round.
#[derive(Default)]
pub(super) struct EvictionPool {
    /// In descending order.
    candidates: Mutex<Vec<EvictionCandidate>>,
    partition: AtomicUsize,
}

impl EvictionPool {
    /// Locks the candidates. The last one expires first.
    pub(super) fn candidates(&self) -> MutexGuard<'_, Vec<EvictionCandidate>> {
        lock(&self.candidates)
    }

    pub(super) fn add(&self, mut sample: Vec<EvictionCandidate>) {
        let mut candidates = lock(&self.candidates);
        candidates.append(&mut sample);
        candidates.sort_unstable_by(|one, other| other.cmp(one));
    }

    /// Returns the number of the partition to sample next.
    pub(super) fn next_partition(&self, partitions: usize) -> usize {
        self.partition.fetch_add(1, Relaxed) % partitions
    }
}
