//! A small cache of session data, for the sessions that are in use.
//!
//! A read out of the system's page cache costs a system call, half a microsecond and more, and
//! that is most of what a read costs.

use std::{
    collections::{HashMap, VecDeque},
    mem::size_of,
    sync::Mutex,
};

use bytes::Bytes;

use super::engine::lock;
use crate::id::StoreKey;

const SHARDS: usize = 64;
/// What an entry takes beside its data: itself, its place in the queue, and the map's slack.
const OVERHEAD: usize = size_of::<(StoreKey, CachedRedisStore)>() + size_of::<StoreKey>() + 48;

/// The data that was written or read last, up to so many bytes in all.
///
/// What is found is only of use if its version is the one that the index names, so nothing here
/// has to be taken back when a session changes.
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    /// The most that one shard holds, in bytes.
    budget: usize,
}

struct CachedRedisStore {
    version: u64,
    data: Bytes,
}

#[derive(Default)]
struct Shard {
    map: HashMap<StoreKey, CachedRedisStore, ahash::RandomState>,
    /// The keys in the order in which they came; each key of the map once.
    queue: VecDeque<StoreKey>,
    /// What all entries take together.
    bytes: usize,
}

impl Cache {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            budget: bytes / SHARDS,
        }
    }

    /// Keys are hashes; their first byte has chosen the part of the index already.
    fn shard(&self, key: &StoreKey) -> Option<&Mutex<Shard>> {
        let [_, second, ..] = *key.as_bytes();
        self.shards.get(usize::from(second) % SHARDS)
    }

    pub(super) fn get(&self, key: &StoreKey, version: u64) -> Option<Bytes> {
        if self.budget == 0 {
            return None;
        }
        let shard = lock(self.shard(key)?);
        let cached = shard
            .map
            .get(key)
            .filter(|cached| cached.version == version)?;
        Some(cached.data.clone())
    }

    /// Keeps a copy of `data`: a part of a large buffer would keep the whole of it.
    pub(super) fn put_copy(&self, key: &StoreKey, version: u64, data: &[u8]) {
        if self.budget > 0 {
            self.put(key, version, Bytes::copy_from_slice(data));
        }
    }

    /// Keeps `data`, which is a buffer of its own.
    pub(super) fn put(&self, key: &StoreKey, version: u64, data: Bytes) {
        // An eighth at most for one session, so that a large one does not push out all others.
        if data.len() + OVERHEAD > self.budget / 8 {
            return self.remove(key);
        }
        let Some(shard) = self.shard(key) else {
            return;
        };
        let mut shard = lock(shard);
        shard.bytes += data.len() + OVERHEAD;
        match shard.map.insert(*key, CachedRedisStore { version, data }) {
            Some(before) => shard.bytes -= before.data.len() + OVERHEAD,
            None => shard.queue.push_back(*key),
        }
        while shard.bytes > self.budget
            && let Some(oldest) = shard.queue.pop_front()
        {
            shard.forget(&oldest);
        }
    }

    /// Data of a session that is gone is not kept for longer than need be.
    pub(super) fn remove(&self, key: &StoreKey) {
        if self.budget == 0 {
            return;
        }
        if let Some(shard) = self.shard(key) {
            let mut shard = lock(shard);
            if shard.forget(key) {
                shard.queue.retain(|one| one != key);
            }
        }
    }
}

impl Shard {
    fn forget(&mut self, key: &StoreKey) -> bool {
        let gone = self.map.remove(key);
        self.bytes -= gone
            .as_ref()
            .map_or(0, |cached| cached.data.len() + OVERHEAD);
        gone.is_some()
    }
}
