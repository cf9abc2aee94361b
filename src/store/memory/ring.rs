//! Keys in turn: the order in which the store looks at what it holds.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use smallvec::SmallVec;

use crate::id::StoreKey;

/// So many that writers of new keys seldom wait for each other.
const STRIPES: usize = 16;

/// Keys taken from a ring; no more than this many fit without an allocation.
pub(super) type Taken = SmallVec<[StoreKey; 8]>;

/// A queue of keys in stripes, each behind its own lock.
///
/// A key that was pushed is given out by exactly one [`take`](Self::take). No lock of the store is
/// asked for while a stripe is locked.
pub(super) struct Ring {
    stripes: [Mutex<VecDeque<StoreKey>>; STRIPES],
    /// The stripe whose turn it is, modulo their number.
    turn: AtomicUsize,
    /// How many keys are in all stripes, or a few more: each is counted before it is pushed and
    /// until after it is taken, so the count never falls below zero.
    len: AtomicUsize,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            stripes: std::array::from_fn(|_| Mutex::default()),
            turn: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }

    /// Puts `key` at the end of its stripe.
    pub(super) fn push(&self, key: StoreKey) {
        let [first, ..] = *key.as_bytes();
        self.len.fetch_add(1, Relaxed);
        self.stripe(first.into()).push_back(key);
    }

    /// Takes at most `count` keys, the longest unseen first; fewer where the ring holds fewer.
    pub(super) fn take(&self, count: usize) -> Taken {
        let mut taken = Taken::new();
        // Most rings of tombstones are empty most of the time: no stripe is locked to see that.
        let count = count.min(self.len());
        let turn = self.turn.fetch_add(1, Relaxed);
        for stripe in 0..STRIPES {
            let wanted = count - taken.len();
            if wanted == 0 {
                break;
            }
            let mut keys = self.stripe(turn.wrapping_add(stripe));
            let wanted = wanted.min(keys.len());
            taken.extend(keys.drain(..wanted));
        }
        self.len.fetch_sub(taken.len(), Relaxed);
        taken
    }

    /// How many keys are in the ring; while others push and take, perhaps a few more.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// The stripe of this number, locked. A queue is whole after every call on it, so a panic
    /// elsewhere while it was locked does not matter.
    fn stripe(&self, number: usize) -> MutexGuard<'_, VecDeque<StoreKey>> {
        // `number % STRIPES` is always in bounds of an array of STRIPES.
        #[expect(clippy::indexing_slicing)]
        self.stripes[number % STRIPES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
