//! The queue of tombstones in the order of their ends.

use std::collections::VecDeque;

use crate::{
    clock::Timestamp,
    id::StoreKey,
    sync::{Mutex, lock},
};

/// Number of entries of a block. Blocks bound the longest push, since no push moves older entries.
const BLOCK: usize = 256;

/// The key of a tombstone, and the tombstone's end when it was pushed.
pub(super) type QueuedTombstone = (Timestamp, StoreKey);

/// A first-in first-out queue. All tombstones have the same time to live, so the first one ends first, unless the
/// clock was set back.
///
/// An entry is valid if the slot under its key is a tombstone that names the entry's end in `queued`. A tombstone has
/// one valid entry, except while a call that took it is in progress. An entry becomes invalid when the tombstone ends
/// and its key is used again.
///
/// No other lock of the store is taken while the queue is locked.
#[derive(Default)]
pub(super) struct TombstoneQueue(Mutex<Blocks>);

#[derive(Default)]
struct Blocks {
    blocks: VecDeque<VecDeque<QueuedTombstone>>,
    /// Number of entries in all blocks.
    len: usize,
}

impl TombstoneQueue {
    /// Returns the number of entries, valid or not.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len
    }

    pub(super) fn push(&self, entry: QueuedTombstone) {
        let Blocks { blocks, len } = &mut *lock(&self.0);
        *len += 1;
        match blocks.back_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push_back(entry),
            None => blocks.push_back(VecDeque::from([entry])),
        }
    }

    /// Removes the first entry if its end is at most `limit`, and returns it.
    pub(super) fn pop(&self, limit: Timestamp) -> Option<QueuedTombstone> {
        let Blocks { blocks, len } = &mut *lock(&self.0);
        let block = blocks.front_mut()?;
        block.front().filter(|(end, _)| *end <= limit)?;
        let entry = block.pop_front()?;
        *len -= 1;
        if block.is_empty() {
            blocks.pop_front();
        }
        Some(entry)
    }
}
