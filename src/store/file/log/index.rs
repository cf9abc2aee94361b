//! Where every record stands: the index in memory.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::frame::HEADER;
use crate::{clock::Timestamp, id::StoreKey};

/// A place in the log: later places compare greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

impl Position {
    pub(super) const fn pack(self) -> u64 {
        (self.segment as u64) << 32 | self.offset as u64
    }

    pub(super) const fn unpack(packed: u64) -> Self {
        Self {
            segment: (packed >> 32) as u32,
            offset: packed as u32,
        }
    }
}

/// What is known of a key: 32 bytes, beside the 32 of the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) expires: Timestamp,
    /// The frame that made it so; a later touch changes only `expires`.
    pub(super) at: Position,
    /// Length of the frame's payload.
    pub(super) len: u32,
    /// The key is destroyed.
    pub(super) tombstone: bool,
}

impl Entry {
    /// Bytes of the log that this entry keeps alive.
    pub(super) const fn weight(&self) -> u64 {
        HEADER as u64 + self.len as u64
    }
}

type Shard = RwLock<HashMap<StoreKey, Entry, ahash::RandomState>>;

/// How many parts the index has. Each is locked, swept and grown on its own.
pub(super) const SHARDS: usize = 256;

/// The index: changed only by whoever holds the log's lock, read by everybody.
pub(super) struct Index {
    shards: Vec<Shard>,
    records: AtomicU64,
    tombstones: AtomicU64,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            records: AtomicU64::new(0),
            tombstones: AtomicU64::new(0),
        }
    }

    /// Keys are hashes, so their first byte spreads them evenly.
    fn shard(&self, key: &StoreKey) -> Option<&Shard> {
        let [first, ..] = *key.as_bytes();
        self.shards.get(usize::from(first))
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<Entry> {
        read(self.shard(key)?).get(key).copied()
    }

    /// Puts `entry` under `key`; what stood there before is returned.
    pub(super) fn insert(&self, key: StoreKey, entry: Entry) -> Option<Entry> {
        self.count(&entry).fetch_add(1, Ordering::Relaxed);
        let before = write(self.shard(&key)?).insert(key, entry);
        before.inspect(|before| self.uncount(before))
    }

    pub(super) fn remove(&self, key: &StoreKey) -> Option<Entry> {
        let before = write(self.shard(key)?).remove(key);
        before.inspect(|before| self.uncount(before))
    }

    /// Takes out of one shard all entries of which `dead` says so, and returns them.
    pub(super) fn drain(
        &self,
        shard: usize,
        dead: impl Fn(&StoreKey, &Entry) -> bool,
    ) -> Vec<(StoreKey, Entry)> {
        let mut gone = Vec::new();
        if let Some(shard) = self.shards.get(shard) {
            let mut map = write(shard);
            map.retain(|key, entry| {
                let dead = dead(key, entry);
                if dead {
                    gone.push((*key, *entry));
                }
                !dead
            });
            if map.len() < map.capacity() / 4 {
                map.shrink_to_fit();
            }
        }
        gone.iter().for_each(|(_, entry)| self.uncount(entry));
        gone
    }

    /// Bytes of the log that all entries together keep alive.
    pub(super) fn weight(&self) -> u64 {
        let shard = |shard| read(shard).values().map(Entry::weight).sum::<u64>();
        self.shards.iter().map(shard).sum()
    }

    /// Entries that are records, expired or not.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Entries that are tombstones.
    pub(super) fn tombstones(&self) -> u64 {
        self.tombstones.load(Ordering::Relaxed)
    }

    const fn count(&self, entry: &Entry) -> &AtomicU64 {
        if entry.tombstone {
            &self.tombstones
        } else {
            &self.records
        }
    }

    fn uncount(&self, entry: &Entry) {
        self.count(entry).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A map stays whole whatever happens to a thread that holds it, so a poisoned lock says nothing.
fn read(shard: &Shard) -> RwLockReadGuard<'_, HashMap<StoreKey, Entry, ahash::RandomState>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Shard) -> RwLockWriteGuard<'_, HashMap<StoreKey, Entry, ahash::RandomState>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
