//! Changes of the index that a scan collects and applies together.
//!
//! A change by itself costs locks and counters, and each waits for memory that is in no cache. In a batch, the
//! changes of one shard follow each other, and several threads share the shards.

use std::{num::NonZero, thread};

use crate::{
    id::StoreKey,
    store::file::log::index::{INDEX_SHARDS, Index, IndexChange},
};

/// Maximum number of changes in a batch. They take 16 MiB.
const MAX_CHANGES: usize = 1 << 18;
/// Number of changes for which another thread saves more than it costs.
const MIN_CHANGES_PER_THREAD: usize = 1 << 13;
const MAX_THREADS: usize = 8;

/// The limits of a batch.
#[derive(Clone, Copy)]
pub(in crate::store::file) struct BatchLimits {
    /// Maximum number of changes.
    pub(in crate::store::file) max_changes: usize,
    pub(in crate::store::file) min_changes_per_thread: usize,
    pub(in crate::store::file) max_threads: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            max_changes: MAX_CHANGES,
            min_changes_per_thread: MIN_CHANGES_PER_THREAD,
            max_threads: threads.min(MAX_THREADS),
        }
    }
}

/// Changes of the index by shard, in the order of the log.
pub(in crate::store::file) struct IndexBatch {
    shards: Vec<Vec<IndexChange>>,
    len: usize,
    limits: BatchLimits,
}

impl Default for IndexBatch {
    fn default() -> Self {
        Self::new(BatchLimits::default())
    }
}

impl IndexBatch {
    pub(in crate::store::file) fn new(limits: BatchLimits) -> Self {
        Self {
            shards: (0..INDEX_SHARDS).map(|_| Vec::new()).collect(),
            len: 0,
            limits,
        }
    }

    /// Adds a change. Applies the batch if it is full.
    pub(in crate::store::file) fn push(
        &mut self,
        index: &Index,
        key: &StoreKey,
        change: IndexChange,
    ) {
        if let Some(changes) = self.shards.get_mut(Index::shard_of(key)) {
            changes.push(change);
            self.len += 1;
        }
        if self.len >= self.limits.max_changes {
            self.apply(index);
        }
    }

    /// Applies all changes.
    pub(in crate::store::file) fn apply(&mut self, index: &Index) {
        if self.len == 0 {
            return;
        }
        let limits = self.limits;
        let threads = self.len / limits.min_changes_per_thread.max(1);
        let threads = threads.min(limits.max_threads);
        let each = INDEX_SHARDS.div_ceil(threads.max(1));
        thread::scope(|scope| {
            let mut first = 0;
            let mut parts = self.shards.chunks_mut(each);
            // This thread takes the last part.
            for part in parts.by_ref().take(threads.saturating_sub(1)) {
                // If the thread cannot be started, the part is left for later.
                let apply = move || apply_shards(index, first, part);
                let _ = thread::Builder::new().spawn_scoped(scope, apply);
                first += each;
            }
            for part in parts {
                apply_shards(index, first, part);
            }
        });
        apply_shards(index, 0, &mut self.shards);
        self.len = 0;
    }
}

fn apply_shards(index: &Index, first: usize, shards: &mut [Vec<IndexChange>]) {
    for (shard, changes) in (first..).zip(shards) {
        if !changes.is_empty() {
            index.apply(shard, changes.drain(..));
        }
    }
}
