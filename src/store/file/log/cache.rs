//! A small cache of session data.
//!
//! A read from the system's page cache costs a system call, half a microsecond or more. That is
//! most of the cost of a read.

use std::{
    collections::{HashMap, VecDeque},
    mem::size_of,
    sync::Mutex,
};

use bytes::Bytes;

use crate::{id::StoreKey, sync::lock};

const SHARDS: usize = 64;
/// The size of an entry without its data: the entry, its place in the queue, and the map's slack.
const OVERHEAD: usize = size_of::<(StoreKey, CachedData)>() + size_of::<StoreKey>() + 48;

/// The data that was written or read last, up to a size limit.
///
/// A hit needs the version that is in the index. Entries of changed sessions therefore need no
/// invalidation.
pub(crate) struct DataCache {
    shards: Vec<Mutex<DataCacheShard>>,
    /// Maximum size of one shard in bytes.
    max_shard_bytes: usize,
}

struct CachedData {
    version: u64,
    data: Bytes,
}

#[derive(Default)]
struct DataCacheShard {
    map: HashMap<StoreKey, CachedData, ahash::RandomState>,
    /// The map's keys, each once, in the order of insertion.
    queue: VecDeque<StoreKey>,
    /// Size of all entries.
    bytes: usize,
}

impl DataCache {
    /// Creates a cache of at most `bytes`; 0 turns it off.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            max_shard_bytes: bytes / SHARDS,
        }
    }

    /// Keys are hashes. The second byte selects the shard, since the first selects that of the
    /// index.
    fn shard(&self, key: &StoreKey) -> Option<&Mutex<DataCacheShard>> {
        let [_, second, ..] = *key.as_bytes();
        self.shards.get(usize::from(second) % SHARDS)
    }

    /// Returns the data of `key`, if it is cached with this version.
    pub(crate) fn get(&self, key: &StoreKey, version: u64) -> Option<Bytes> {
        if self.max_shard_bytes == 0 {
            return None;
        }
        let shard = lock(self.shard(key)?);
        let cached = shard
            .map
            .get(key)
            .filter(|cached| cached.version == version)?;
        Some(cached.data.clone())
    }

    /// Caches a copy of `data`, since a part of a large buffer would keep the whole buffer.
    pub(crate) fn put_copy(&self, key: &StoreKey, version: u64, data: &[u8]) {
        if self.max_shard_bytes > 0 {
            self.put(key, version, Bytes::copy_from_slice(data));
        }
    }

    /// Caches `data`, which must be a buffer of its own.
    pub(crate) fn put(&self, key: &StoreKey, version: u64, data: Bytes) {
        // A session may take at most an eighth, so that a large one does not evict all others.
        if data.len() + OVERHEAD > self.max_shard_bytes / 8 {
            return self.remove(key);
        }
        let Some(shard) = self.shard(key) else {
            return;
        };
        let mut shard = lock(shard);
        shard.bytes += data.len() + OVERHEAD;
        match shard.map.insert(*key, CachedData { version, data }) {
            Some(previous) => shard.bytes -= previous.data.len() + OVERHEAD,
            None => shard.queue.push_back(*key),
        }
        while shard.bytes > self.max_shard_bytes
            && let Some(oldest) = shard.queue.pop_front()
        {
            shard.remove(&oldest);
        }
    }

    /// Removes the data of `key`.
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

impl DataCacheShard {
    /// Removes `key` from the map, not from the queue; returns `true` if it was cached.
    fn remove(&mut self, key: &StoreKey) -> bool {
        let removed = self.map.remove(key);
        self.bytes -= removed
            .as_ref()
            .map_or(0, |cached| cached.data.len() + OVERHEAD);
        removed.is_some()
    }
}
