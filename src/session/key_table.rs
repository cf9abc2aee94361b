//! Fixed tables of recent keys in this process.
//!
//! A slow request may finish after its session was regenerated or destroyed. Its response could
//! then set the old cookie again, and a visitor who has just signed in would be signed out. If a
//! request writes, the store reports that its id is dead. For a request that only reads, the table of
//! recent changes does. It does not contain ids that died in another process. The browser then keeps the old
//! cookie until its next request that loads the session.
//!
//! The same table lists sessions whose own timeout has changed. A slow response must not send the former
//! one. One table serves both, so that a response needs one lookup.
//!
//! The table of touch times serves clients that never store a cookie. Their cookie always says that
//! its last renewal was long ago.

use std::sync::Mutex;

use crate::{clock::Timestamp, id::StoreKey, sync::lock, wire::Lifetime};

/// Number of buckets.
const BUCKETS: usize = 256;

/// Capacity of a bucket in keys. Two keys share a bucket once in 256 times, so one request with two keys
/// must not replace one of them.
const BUCKET_LEN: usize = 4;

/// Changes of sessions that slower requests of this process must respect.
pub(crate) type RecentChanges = KeyTable<RecentChange>;

/// A change of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecentChange {
    /// The session was regenerated or destroyed. The key stays dead.
    Death,
    /// The session's own timeout was changed to that of this lifetime, at the latest at this time.
    Lifetime(Lifetime, Timestamp),
}

/// Times at which this process last touched sessions.
pub(crate) type TouchTimes = KeyTable<Timestamp>;

/// Recent keys with a value. Each key has one bucket; a new key replaces the oldest one in it.
pub(crate) struct KeyTable<V>(Box<[Mutex<KeyBucket<V>>]>);

struct KeyBucket<V> {
    entries: [Option<(StoreKey, V)>; BUCKET_LEN],
    oldest: usize,
}

impl<V: Copy> KeyTable<V> {
    pub(crate) fn new() -> Self {
        let bucket = |_| Mutex::new(KeyBucket::new());
        Self((0..BUCKETS).map(bucket).collect())
    }

    pub(super) fn insert(&self, key: StoreKey, value: V) {
        if let Some(bucket) = self.bucket(&key) {
            lock(bucket).insert(key, value);
        }
    }

    /// Inserts a value, unless `keeps` returns `true` for the present one.
    pub(super) fn insert_unless(&self, key: StoreKey, value: V, keeps: impl FnOnce(V) -> bool) {
        if let Some(bucket) = self.bucket(&key) {
            let mut bucket = lock(bucket);
            if !bucket.get(&key).copied().is_some_and(keeps) {
                bucket.insert(key, value);
            }
        }
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<V> {
        self.map(key, |value| *value)
    }

    /// Returns the output of `map` for the value of a key.
    #[inline]
    pub(super) fn map<T>(&self, key: &StoreKey, map: impl FnOnce(&V) -> T) -> Option<T> {
        lock(self.bucket(key)?).get(key).map(map)
    }

    pub(super) fn remove(&self, key: &StoreKey) {
        if let Some(bucket) = self.bucket(key) {
            for entry in &mut lock(bucket).entries {
                entry.take_if(|(found, _)| found == key);
            }
        }
    }

    fn bucket(&self, key: &StoreKey) -> Option<&Mutex<KeyBucket<V>>> {
        // A key is a hash already.
        let [first, ..] = key.as_bytes();
        self.0.get(usize::from(*first))
    }
}

impl<V: Copy> KeyBucket<V> {
    const fn new() -> Self {
        Self {
            entries: [None; BUCKET_LEN],
            oldest: 0,
        }
    }

    #[inline]
    fn get(&self, key: &StoreKey) -> Option<&V> {
        let mut entries = self.entries.iter().flatten();
        let entry = entries.find(|(found, _)| found == key);
        entry.map(|(_, value)| value)
    }

    fn insert(&mut self, key: StoreKey, value: V) {
        let is_same = |entry: &&mut Option<(StoreKey, V)>| {
            entry.as_ref().is_some_and(|(found, _)| *found == key)
        };
        if let Some(entry) = self.entries.iter_mut().find(is_same) {
            *entry = Some((key, value));
            return;
        }
        if let Some(entry) = self.entries.get_mut(self.oldest) {
            *entry = Some((key, value));
        }
        self.oldest = (self.oldest + 1) % BUCKET_LEN;
    }
}

#[cfg(test)]
mod tests;
