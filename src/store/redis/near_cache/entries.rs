//! The entries of the near cache: bounded, and never filled with a record that has changed since the
//! read.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    id::StoreKey,
    random_state::RandomState,
    store::{
        Record,
        redis::{
            client::{InvalidationListener, TrackingId},
            key_names::KeyNames,
        },
    },
    sync::lock,
};

/// The number of parts with a lock of their own.
const SHARDS: usize = 32;

/// Copies of records, by key.
///
/// A read that misses first reserves an entry, and fills it once the reply has arrived. Any report
/// that the record may have changed removes the entry. A reply whose reservation is gone is not
/// cached, so a reply that was overtaken by a change does not outlive the change.
pub(super) struct NearCache {
    shards: [Mutex<CacheShard>; SHARDS],
    hasher: RandomState,
    names: KeyNames,
    limits: CacheLimits,
    tickets: AtomicU64,
    hits: AtomicU64,
}

/// The limits of all copies together.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheLimits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) max_age: Duration,
}

#[derive(Default)]
struct CacheShard {
    entries: HashMap<StoreKey, CacheEntry, RandomState>,
    /// The keys of all copies, the oldest first. May hold keys whose copy has been removed.
    order: VecDeque<(StoreKey, u64)>,
    /// The size of all copies.
    bytes: usize,
    /// The number of entries that are filled.
    copies: usize,
}

/// A reservation, or a copy once it is filled.
struct CacheEntry {
    ticket: u64,
    copy: Option<RecordCopy>,
}

struct RecordCopy {
    record: Record,
    /// The connection that reports changes of the record.
    source: TrackingId,
    expires_at: Instant,
    /// Set if the copy was read since eviction last considered it.
    used: bool,
}

/// A reserved entry. Unless it is filled, dropping this removes it.
pub(super) struct FillGuard<'c> {
    cache: &'c NearCache,
    key: StoreKey,
    ticket: u64,
}

impl NearCache {
    pub(super) const fn limits(&self) -> &CacheLimits {
        &self.limits
    }

    pub(super) fn new(names: KeyNames, limits: CacheLimits) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            names,
            limits,
            tickets: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<Record> {
        let mut shard = self.shard(key);
        let copy = shard.entries.get_mut(key)?.copy.as_mut()?;
        if Instant::now() >= copy.expires_at {
            shard.remove(key);
            return None;
        }
        copy.used = true;
        self.hits.fetch_add(1, Relaxed);
        Some(copy.record.clone())
    }

    /// Reserves an entry for a copy; `None` if another read has reserved it.
    pub(super) fn reserve(&self, key: &StoreKey) -> Option<FillGuard<'_>> {
        let mut shard = self.shard(key);
        if shard.entries.contains_key(key) {
            return None;
        }
        let ticket = self.tickets.fetch_add(1, Relaxed);
        shard
            .entries
            .insert(*key, CacheEntry { ticket, copy: None });
        let (cache, key) = (self, *key);
        Some(FillGuard { cache, key, ticket })
    }

    /// Removes the copy, or the reservation of a read in flight.
    pub(super) fn remove(&self, key: &StoreKey) {
        self.shard(key).remove(key);
    }

    pub(super) fn entries(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).copies).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).bytes).sum()
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    fn shard(&self, key: &StoreKey) -> MutexGuard<'_, CacheShard> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        // The remainder is always a valid index; `first` only avoids a panicking access.
        let [first, ..] = &self.shards;
        lock(self.shards.get(index).unwrap_or(first))
    }
}

impl InvalidationListener for NearCache {
    fn on_change(&self, name: &[u8]) {
        if let Some(key) = self.names.parse_session(name) {
            self.remove(&key);
        }
    }

    fn on_tracking_lost(&self, source: TrackingId) {
        for shard in &self.shards {
            lock(shard).remove_from(source);
        }
    }
}

impl FillGuard<'_> {
    /// Caches `record` until `expires_at`, unless the reservation has been removed. `source` reports its
    /// changes.
    pub(super) fn fill(self, record: &Record, source: TrackingId, expires_at: Instant) {
        let limits = self.cache.limits;
        let bytes = size(record);
        if bytes > limits.bytes / SHARDS {
            return;
        }
        let mut shard = self.cache.shard(&self.key);
        let Some(entry) = shard.entries.get_mut(&self.key) else {
            return;
        };
        if entry.ticket != self.ticket {
            return;
        }
        entry.copy = Some(RecordCopy {
            record: record.clone(),
            source,
            expires_at: expires_at.min(Instant::now() + limits.max_age),
            used: false,
        });
        shard.bytes += bytes;
        shard.copies += 1;
        shard.order.push_back((self.key, self.ticket));
        shard.evict(limits);
    }
}

impl Drop for FillGuard<'_> {
    fn drop(&mut self) {
        let mut shard = self.cache.shard(&self.key);
        let is_reserved = |entry: &CacheEntry| entry.ticket == self.ticket && entry.copy.is_none();
        if shard.entries.get(&self.key).is_some_and(is_reserved) {
            shard.remove(&self.key);
        }
    }
}

impl CacheShard {
    /// Removes the copies whose changes `source` reported, and all reservations: the replies to some of
    /// them may be from `source`.
    fn remove_from(&mut self, source: TrackingId) {
        let (mut bytes, mut copies) = (0, 0);
        self.entries.retain(|_, entry| {
            let copy = entry.copy.as_ref().filter(|copy| copy.source != source);
            bytes += copy.map_or(0, |copy| size(&copy.record));
            copies += usize::from(copy.is_some());
            copy.is_some()
        });
        (self.bytes, self.copies) = (bytes, copies);
    }

    fn remove(&mut self, key: &StoreKey) {
        if let Some(copy) = self.entries.remove(key).and_then(|entry| entry.copy) {
            self.bytes -= size(&copy.record);
            self.copies -= 1;
        }
    }

    /// Evicts the oldest copies, except those that were read since eviction last considered them,
    /// until the shard is within its part of the limits.
    fn evict(&mut self, limits: CacheLimits) {
        let (entries, bytes) = (limits.entries.div_ceil(SHARDS), limits.bytes / SHARDS);
        // Keys whose copy has been removed count too, so that the list is bounded as well.
        while self.copies > entries || self.bytes > bytes || self.order.len() > 2 * entries {
            let Some((key, ticket)) = self.order.pop_front() else {
                return;
            };
            let Some(entry) = self
                .entries
                .get_mut(&key)
                .filter(|entry| entry.ticket == ticket)
            else {
                continue;
            };
            match &mut entry.copy {
                Some(copy) if copy.used => {
                    copy.used = false;
                    self.order.push_back((key, ticket));
                }
                _ => self.remove(&key),
            }
        }
    }
}

/// Returns the number of bytes of a record's data and tags.
fn size(record: &Record) -> usize {
    record.data.len() + record.tags.as_bytes().len()
}
