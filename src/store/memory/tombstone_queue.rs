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
    pub(super) fn push(&self, entry: QueuedTombstone) {
        lock(&self.0).push(entry);
    }

    /// Removes the first entry if its end is at most `limit`, and returns it.
    pub(super) fn pop(&self, limit: Timestamp) -> Option<QueuedTombstone> {
        lock(&self.0).pop(limit)
    }

    /// If there are more than `limit` entries, removes the first whose key is not `kept`, and returns it.
    ///
    /// Counts and removes under one lock. Otherwise calls at the same time could remove an entry each for the same
    /// excess.
    pub(super) fn pop_beyond(&self, limit: u64, kept: &StoreKey) -> Option<QueuedTombstone> {
        let mut blocks = lock(&self.0);
        if blocks.len as u64 <= limit {
            return None;
        }
        let mut skipped = Vec::new();
        let popped = loop {
            match blocks.pop(Timestamp::MAX) {
                Some(entry) if entry.1 == *kept => skipped.push(entry),
                popped => break popped,
            }
        };
        skipped.into_iter().for_each(|entry| blocks.push(entry));
        popped
    }
}

impl Blocks {
    fn push(&mut self, entry: QueuedTombstone) {
        self.len += 1;
        match self.blocks.back_mut().filter(|it| it.len() < BLOCK) {
            Some(block) => block.push_back(entry),
            None => self.blocks.push_back(VecDeque::from([entry])),
        }
    }

    fn pop(&mut self, limit: Timestamp) -> Option<QueuedTombstone> {
        let block = self.blocks.front_mut()?;
        block.front().filter(|(end, _)| *end <= limit)?;
        let entry = block.pop_front()?;
        self.len -= 1;
        if block.is_empty() {
            self.blocks.pop_front();
        }
        Some(entry)
    }
}
