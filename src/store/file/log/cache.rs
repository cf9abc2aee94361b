//! A small cache of records.
//!
//! A read from the system's page cache costs a system call, half a microsecond or more. That is
//! most of the cost of a read.

use std::{
    collections::{HashMap, VecDeque},
    mem::size_of,
    sync::Mutex,
};

use bytes::Bytes;

use super::tagged_keys::copy_tags;
use crate::{
    id::StoreKey,
    random_state::RandomState,
    store::{Record, Tags, Version},
    sync::lock,
};

const SHARDS: usize = 64;
/// The size of an entry without data and tags: the entry, its place in the queue, and the map's slack.
const OVERHEAD: usize = size_of::<(StoreKey, Record)>() + size_of::<StoreKey>() + 48;
/// Maximum unused capacity of a buffer that is kept, in bytes.
const MAX_UNUSED: usize = 64;

/// The records that were written or read last, up to a size limit.
///
/// A hit needs the version that is in the index. Entries of changed sessions therefore need no
/// invalidation.
pub(crate) struct RecordCache {
    shards: Vec<Mutex<RecordCacheShard>>,
    /// Maximum size of one shard in bytes.
    max_shard_bytes: usize,
}

#[derive(Default)]
struct RecordCacheShard {
    map: HashMap<StoreKey, Record, RandomState>,
    /// The map's keys, each once, in the order of insertion.
    queue: VecDeque<StoreKey>,
    /// Size of all entries.
    bytes: usize,
}

impl RecordCache {
    /// Creates a cache of at most `bytes`; 0 turns it off.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            max_shard_bytes: bytes / SHARDS,
        }
    }

    /// Keys are hashes. The second byte selects the shard, since the first selects that of the
    /// index.
    fn shard(&self, key: &StoreKey) -> Option<&Mutex<RecordCacheShard>> {
        let [_, second, ..] = *key.as_bytes();
        self.shards.get(usize::from(second) % SHARDS)
    }

    /// Returns the record of `key`, if it is cached with this version.
    pub(crate) fn get(&self, key: &StoreKey, version: u64) -> Option<Record> {
        if self.max_shard_bytes == 0 {
            return None;
        }
        let shard = lock(self.shard(key)?);
        let cached = shard.map.get(key);
        cached
            .filter(|record| record.version.get() == version)
            .cloned()
    }

    /// Caches a record with copies of data and tags, since a part of a large buffer would keep the
    /// whole buffer.
    pub(crate) fn put_copy(&self, key: &StoreKey, version: Version, data: &[u8], tags: &Tags) {
        if self.max_shard_bytes > 0 {
            let record = Record::new(Bytes::copy_from_slice(data), version);
            self.put(key, record.tags(copy_tags(tags)));
        }
    }

    /// Caches a record, and copies its data only if something else uses the buffer, or it is a part of a large
    /// buffer.
    pub(crate) fn put_owned(&self, key: &StoreKey, record: Record) {
        let Record {
            data,
            tags,
            version,
        } = record;
        let len = data.len();
        match data.try_into_mut() {
            _ if self.max_shard_bytes == 0 => {}
            Ok(mut buffer) => {
                // If more of the buffer is before the data than after its start, the capacity then is that of the whole.
                let _ = buffer.try_reclaim(buffer.capacity() - len + 1);
                if buffer.capacity() <= len + MAX_UNUSED {
                    let record = Record::new(buffer.freeze(), version);
                    self.put(key, record.tags(copy_tags(&tags)));
                } else {
                    self.put_copy(key, version, &buffer, &tags);
                }
            }
            Err(data) => self.put_copy(key, version, &data, &tags),
        }
    }

    /// Caches `record`, whose data and tags must be buffers of their own, or share one.
    pub(crate) fn put(&self, key: &StoreKey, record: Record) {
        // A session may take at most an eighth, so that a large one does not evict all others.
        let bytes = entry_len(&record);
        if bytes > self.max_shard_bytes / 8 {
            return self.remove(key);
        }
        let Some(shard) = self.shard(key) else {
            return;
        };
        let mut shard = lock(shard);
        shard.bytes += bytes;
        match shard.map.insert(*key, record) {
            Some(previous) => shard.bytes -= entry_len(&previous),
            None => shard.queue.push_back(*key),
        }
        while shard.bytes > self.max_shard_bytes
            && let Some(oldest) = shard.queue.pop_front()
        {
            shard.remove(&oldest);
        }
    }

    /// Removes the record of `key`.
    pub(crate) fn remove(&self, key: &StoreKey) {
        if self.max_shard_bytes == 0 {
            return;
        }
        if let Some(shard) = self.shard(key) {
            let mut shard = lock(shard);
            if shard.remove(key) {
                shard.queue.retain(|queued| queued != key);
            }
        }
    }
}

impl RecordCacheShard {
    /// Removes `key` from the map, not from the queue; returns `true` if it was cached.
    fn remove(&mut self, key: &StoreKey) -> bool {
        let removed = self.map.remove(key);
        self.bytes -= removed.as_ref().map_or(0, entry_len);
        removed.is_some()
    }
}

/// Returns the size of an entry.
const fn entry_len(record: &Record) -> usize {
    record.data.len() + record.tags.as_bytes().len() + OVERHEAD
}
