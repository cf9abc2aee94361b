//! The index in memory: the log position of every record.

use std::{
    collections::HashMap,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    clock::Timestamp,
    id::StoreKey,
    random_state::RandomState,
    store::file::format::frame::{FrameHeader, FrameKind, HEADER_LEN},
    sync::{read, write},
};

/// A position in the log. Later positions compare greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Position {
    pub(crate) const fn pack(self) -> u64 {
        (self.segment as u64) << 32 | self.offset as u64
    }

    pub(crate) const fn unpack(packed: u64) -> Self {
        Self {
            segment: (packed >> 32) as u32,
            offset: packed as u32,
        }
    }
}

/// The index entry of a key: 32 bytes, in addition to the 32 bytes of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) version: u64,
    pub(crate) expires: Timestamp,
    /// The frame that holds the record or tombstone. A later touch changes only `expires`.
    pub(crate) position: Position,
    /// Length of the frame's payload.
    pub(crate) len: u32,
    /// The session was destroyed.
    pub(crate) tombstone: bool,
    /// The record has tags.
    pub(crate) tagged: bool,
    /// The key that encrypted the frame's payload: [`NOT_ENCRYPTED`], [`FIRST_KEY`] or greater.
    pub(crate) key_slot: u8,
}

/// The key slot of a record that is not encrypted.
pub(crate) const NOT_ENCRYPTED: u8 = 0;
/// The key slot of the first key of the key ring. Greater slots are those of other keys.
pub(crate) const FIRST_KEY: u8 = 1;

impl IndexEntry {
    /// Creates the entry for a write or destroy frame, which the first key encrypted if any did.
    pub(crate) const fn new(header: &FrameHeader, position: Position) -> Self {
        Self {
            version: header.version,
            expires: header.expires,
            position,
            len: header.len,
            tombstone: matches!(header.kind, FrameKind::Destroy),
            tagged: header.tagged,
            key_slot: if header.encrypted {
                FIRST_KEY
            } else {
                NOT_ENCRYPTED
            },
        }
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.key_slot != NOT_ENCRYPTED
    }

    /// Returns `true` if a key other than the first one encrypted the record.
    pub(crate) const fn needs_other_key(&self) -> bool {
        self.key_slot > FIRST_KEY
    }

    /// Returns the length of the frame that this entry points to.
    pub(crate) const fn live_bytes(&self) -> u64 {
        HEADER_LEN as u64 + self.len as u64
    }
}

/// A change of the index entry of one key.
pub(crate) enum IndexChange {
    Set(StoreKey, IndexEntry),
    /// Sets the expiry of the key's record, if the record has this version.
    Touch(StoreKey, u64, Timestamp),
}

/// The numbers of entries that the index counts.
#[derive(Default)]
struct EntryCounts {
    records: u64,
    tombstones: u64,
    other_key: u64,
}

impl EntryCounts {
    fn add(&mut self, entry: &IndexEntry) {
        self.records += u64::from(!entry.tombstone);
        self.tombstones += u64::from(entry.tombstone);
        self.other_key += u64::from(entry.needs_other_key());
    }
}

type IndexShard = RwLock<HashMap<StoreKey, IndexEntry, RandomState>>;

/// Number of shards. Each is locked, swept and grown on its own.
pub(crate) const INDEX_SHARDS: usize = 256;

/// The index. It is changed only under the log's lock; reads need only the lock of a shard.
pub(crate) struct Index {
    shards: Vec<IndexShard>,
    records: AtomicU64,
    tombstones: AtomicU64,
    /// Records that a key other than the first one encrypted.
    other_key: AtomicU64,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..INDEX_SHARDS).map(|_| IndexShard::default()).collect(),
            records: AtomicU64::new(0),
            tombstones: AtomicU64::new(0),
            other_key: AtomicU64::new(0),
        }
    }

    /// Returns the number of the shard of `key`. Keys are hashes, so their first byte spreads them evenly.
    pub(crate) fn shard_of(key: &StoreKey) -> usize {
        let [first, ..] = *key.as_bytes();
        first.into()
    }

    fn shard(&self, key: &StoreKey) -> Option<&IndexShard> {
        self.shards.get(Self::shard_of(key))
    }

    pub(crate) fn get(&self, key: &StoreKey) -> Option<IndexEntry> {
        read(self.shard(key)?).get(key).copied()
    }

    /// Sets the entry of `key`; returns the previous one.
    pub(crate) fn insert(&self, key: StoreKey, entry: IndexEntry) -> Option<IndexEntry> {
        self.counter(&entry).fetch_add(1, Ordering::Relaxed);
        if entry.needs_other_key() {
            self.other_key.fetch_add(1, Ordering::Relaxed);
        }
        let previous = write(self.shard(&key)?).insert(key, entry);
        previous.inspect(|previous| self.uncount(previous))
    }

    /// Gives back the memory that has no entries.
    pub(crate) fn shrink(&self) {
        for shard in &self.shards {
            write(shard).shrink_to_fit();
        }
    }

    /// Applies changes in order. All of their keys are in this shard.
    pub(crate) fn apply(&self, shard: usize, changes: impl Iterator<Item = IndexChange>) {
        let Some(shard) = self.shards.get(shard) else {
            return;
        };
        let (mut added, mut removed) = (EntryCounts::default(), EntryCounts::default());
        let mut map = write(shard);
        for change in changes {
            match change {
                IndexChange::Set(key, entry) => {
                    added.add(&entry);
                    if let Some(previous) = map.insert(key, entry) {
                        removed.add(&previous);
                    }
                }
                IndexChange::Touch(key, version, expires) => {
                    if let Some(entry) = map.get_mut(&key)
                        && !entry.tombstone
                        && entry.version == version
                    {
                        entry.expires = expires;
                    }
                }
            }
        }
        drop(map);
        for (counter, added, removed) in [
            (&self.records, added.records, removed.records),
            (&self.tombstones, added.tombstones, removed.tombstones),
            (&self.other_key, added.other_key, removed.other_key),
        ] {
            counter.fetch_add(added, Ordering::Relaxed);
            counter.fetch_sub(removed, Ordering::Relaxed);
        }
    }

    /// Removes and returns the entry of `key`.
    pub(crate) fn remove(&self, key: &StoreKey) -> Option<IndexEntry> {
        let previous = write(self.shard(key)?).remove(key);
        previous.inspect(|previous| self.uncount(previous))
    }

    /// Removes and returns all entries of one shard for which `remove` returns `true`.
    pub(crate) fn drain(
        &self,
        shard: usize,
        remove: impl Fn(&StoreKey, &IndexEntry) -> bool,
    ) -> Vec<(StoreKey, IndexEntry)> {
        let mut removed = Vec::new();
        if let Some(shard) = self.shards.get(shard) {
            let mut map = write(shard);
            map.retain(|key, entry| {
                let remove = remove(key, entry);
                if remove {
                    removed.push((*key, *entry));
                }
                !remove
            });
            if map.len() < map.capacity() / 4 {
                map.shrink_to_fit();
            }
        }
        removed.iter().for_each(|(_, entry)| self.uncount(entry));
        removed
    }

    /// Returns the entries for which `filter` returns `true`, in no particular order.
    pub(crate) fn entries(
        &self,
        filter: impl Fn(&IndexEntry) -> bool,
    ) -> Vec<(StoreKey, IndexEntry)> {
        let mut entries = Vec::new();
        for shard in &self.shards {
            let shard = read(shard);
            let found = shard.iter().filter(|(_, entry)| filter(entry));
            entries.extend(found.map(|(key, entry)| (*key, *entry)));
        }
        entries
    }

    /// Returns the keys of one shard for whose entries `filter` returns `true`.
    pub(crate) fn keys(&self, shard: usize, filter: impl Fn(&IndexEntry) -> bool) -> Vec<StoreKey> {
        let Some(shard) = self.shards.get(shard) else {
            return Vec::new();
        };
        let shard = read(shard);
        let found = shard.iter().filter(|(_, entry)| filter(entry));
        found.map(|(key, _)| *key).collect()
    }

    /// Returns the length of all frames that entries point to.
    pub(crate) fn live_bytes(&self) -> u64 {
        let shard = |shard: &IndexShard| {
            read(shard)
                .values()
                .map(IndexEntry::live_bytes)
                .sum::<u64>()
        };
        self.shards.iter().map(shard).sum()
    }

    /// Returns the number of records, including expired ones.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Returns the number of tombstones, including expired ones.
    pub(crate) fn tombstones(&self) -> u64 {
        self.tombstones.load(Ordering::Relaxed)
    }

    /// Returns the number of records that a key other than the first one encrypted, including expired
    /// ones.
    pub(crate) fn other_key_records(&self) -> u64 {
        self.other_key.load(Ordering::Relaxed)
    }

    const fn counter(&self, entry: &IndexEntry) -> &AtomicU64 {
        if entry.tombstone {
            &self.tombstones
        } else {
            &self.records
        }
    }

    fn uncount(&self, entry: &IndexEntry) {
        self.counter(entry).fetch_sub(1, Ordering::Relaxed);
        if entry.needs_other_key() {
            self.other_key.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
