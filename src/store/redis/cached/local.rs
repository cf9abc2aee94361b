//! The local copies: bounded, and never filled with what has changed meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ahash::RandomState;

use crate::{
    id::StoreKey,
    store::{Record, redis::client::Hear, redis::keys::Names},
};

/// Parts with a lock of their own.
const SHARDS: usize = 32;

/// Copies of records, by key.
///
/// A read that misses first takes a place and fills it when the answer is there. Whatever says that
/// the record may have changed takes the place away, and what finds no place any more is not kept:
/// so an answer that was overtaken by the news of a change does not outlive it.
pub(super) struct Local {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    names: Names,
    limits: ChangeLimits,
    tickets: AtomicU64,
    hits: AtomicU64,
}

/// What all copies together may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeLimits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

#[derive(Default)]
struct Shard {
    places: HashMap<StoreKey, Place, RandomState>,
    /// The keys of all copies, the oldest first. A key whose copy has gone may be here yet.
    order: VecDeque<(StoreKey, u64)>,
    /// The bytes of data of all copies.
    bytes: usize,
    copies: usize,
}

struct Place {
    ticket: u64,
    copy: Option<Copy>,
}

struct Copy {
    record: Record,
    until: Instant,
    /// Read since it was last looked at for eviction.
    used: bool,
}

/// A place that was taken. Unless it is filled, it is given up when this is dropped.
pub(super) struct Taken<'l> {
    local: &'l Local,
    key: StoreKey,
    ticket: u64,
}

impl Local {
    pub(super) fn new(names: Names, limits: ChangeLimits) -> Self {
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
        let copy = shard.places.get_mut(key)?.copy.as_mut()?;
        if Instant::now() >= copy.until {
            shard.remove(key);
            return None;
        }
        copy.used = true;
        self.hits.fetch_add(1, Relaxed);
        Some(copy.record.clone())
    }

    /// Takes a place for a copy; `None` where another read has taken it.
    pub(super) fn take(&self, key: &StoreKey) -> Option<Taken<'_>> {
        let mut shard = self.shard(key);
        if shard.places.contains_key(key) {
            return None;
        }
        let ticket = self.tickets.fetch_add(1, Relaxed);
        shard.places.insert(*key, Place { ticket, copy: None });
        let (local, key) = (self, *key);
        Some(Taken { local, key, ticket })
    }

    /// Forgets the copy, and the place of a read that is under way.
    pub(super) fn forget(&self, key: &StoreKey) {
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

    fn shard(&self, key: &StoreKey) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // The remainder is a place of the array.
        let [first, ..] = &self.shards;
        lock(self.shards.get(at).unwrap_or(first))
    }
}

/// No task panics while it holds one of these locks.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hear for Local {
    fn changed(&self, name: &[u8]) {
        if let Some(key) = self.names.key(name) {
            self.forget(&key);
        }
    }

    fn missed(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }
}

impl Taken<'_> {
    /// Keeps `record`, which was read after `asked` and lived for `life` then, unless the place was
    /// taken away.
    pub(super) fn fill(self, record: &Record, asked: Instant, life: Duration) {
        let limits = self.local.limits;
        let bytes = record.data.len();
        if bytes > limits.bytes / SHARDS {
            return;
        }
        let mut shard = self.local.shard(&self.key);
        let Some(place) = shard.places.get_mut(&self.key) else {
            return;
        };
        if place.ticket != self.ticket {
            return;
        }
        place.copy = Some(Copy {
            record: record.clone(),
            until: asked + life.min(limits.age),
            used: false,
        });
        shard.bytes += bytes;
        shard.copies += 1;
        shard.order.push_back((self.key, self.ticket));
        shard.make_room(limits);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut shard = self.local.shard(&self.key);
        let mine = |place: &Place| place.ticket == self.ticket && place.copy.is_none();
        if shard.places.get(&self.key).is_some_and(mine) {
            shard.remove(&self.key);
        }
    }
}

impl Shard {
    fn remove(&mut self, key: &StoreKey) {
        if let Some(copy) = self.places.remove(key).and_then(|place| place.copy) {
            self.bytes -= copy.record.data.len();
            self.copies -= 1;
        }
    }

    /// Evicts the oldest copies that were not read since their last turn, until the rest is within
    /// this shard's part of the limits.
    fn make_room(&mut self, limits: ChangeLimits) {
        let (entries, bytes) = (limits.entries.div_ceil(SHARDS), limits.bytes / SHARDS);
        // Keys of copies that have gone count too, so that this list is bounded as well.
        while self.copies > entries || self.bytes > bytes || self.order.len() > 2 * entries {
            let Some((key, ticket)) = self.order.pop_front() else {
                return;
            };
            let Some(place) = self
                .places
                .get_mut(&key)
                .filter(|place| place.ticket == ticket)
            else {
                continue;
            };
            match &mut place.copy {
                Some(copy) if copy.used => {
                    copy.used = false;
                    self.order.push_back((key, ticket));
                }
                _ => self.remove(&key),
            }
        }
    }
}
