//! A queue of keys: the order in which the store inspects its entries.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::{
    id::StoreKey,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
        lock,
    },
};

/// Number of stripes: enough that writers of new keys seldom wait for each other.
const STRIPES: usize = 16;

/// Keys taken from a queue. Up to eight need no allocation.
pub(super) type SweepBatch = SmallVec<[StoreKey; 8]>;

/// A first-in first-out queue in stripes, each behind its own lock.
///
/// Exactly one [`pop_batch`](Self::pop_batch) returns each pushed key. No other lock of the store is
/// taken while a stripe is locked.
pub(super) struct KeyQueue {
    pub(super) stripes: [Mutex<VecDeque<StoreKey>>; STRIPES],
    /// The stripe to start with, modulo the number of stripes.
    next_stripe: AtomicUsize,
    /// Upper bound for the number of keys in all stripes. A key is counted before it is pushed and
    /// until after it was popped, so the count never falls below zero.
    len: AtomicUsize,
}

impl KeyQueue {
    pub(super) fn new() -> Self {
        Self {
            stripes: std::array::from_fn(|_| Mutex::default()),
            next_stripe: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }

    /// Pushes `key` to the end of its stripe.
    pub(super) fn push(&self, key: StoreKey) {
        let [first, ..] = *key.as_bytes();
        self.len.fetch_add(1, Relaxed);
        self.lock_stripe(first.into()).push_back(key);
    }

    /// Pops at most `count` keys, the oldest of a stripe first. Returns fewer if the queue has fewer.
    pub(super) fn pop_batch(&self, count: usize) -> SweepBatch {
        let mut batch = SweepBatch::new();
        // Queues of tombstones are often empty. Do not lock every stripe to find that out.
        let count = count.min(self.len());
        let first = self.next_stripe.fetch_add(1, Relaxed);
        for stripe in 0..STRIPES {
            let missing = count - batch.len();
            if missing == 0 {
                break;
            }
            let mut keys = self.lock_stripe(first.wrapping_add(stripe));
            let popped = missing.min(keys.len());
            batch.extend(keys.drain(..popped));
        }
        self.len.fetch_sub(batch.len(), Relaxed);
        batch
    }

    /// Returns the number of keys. While other threads push and pop, it may be too high.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Frees the memory that a larger number of keys needed, one stripe after the other.
    pub(super) fn shrink(&self) {
        for stripe in &self.stripes {
            let mut keys = lock(stripe);
            if is_oversized(keys.capacity(), keys.len()) {
                let len = keys.len();
                keys.shrink_to(2 * len);
            }
        }
    }

    fn lock_stripe(&self, number: usize) -> MutexGuard<'_, VecDeque<StoreKey>> {
        // `number % STRIPES` is always in bounds of an array of STRIPES.
        #[expect(clippy::indexing_slicing)]
        lock(&self.stripes[number % STRIPES])
    }
}

/// Returns `true` if a collection has room for far more than its entries.
pub(super) const fn is_oversized(capacity: usize, len: usize) -> bool {
    capacity > 4 * len + 1_024
}
