//! Fixed tables of recent keys in this process.
//!
//! A slow request may finish after its session was regenerated or destroyed. Its response could
//! then set the old cookie again, and a visitor who has just signed in would be signed out. If a
//! request writes, the store reports that its id is dead. For a request that only reads, the table of
//! dead keys does. It does not contain ids that died in another process. The browser then keeps the old
//! cookie until its next request that loads the session.
//!
//! The table of touch times serves clients that never store a cookie. Their cookie always says that
//! its last renewal was long ago.

use std::sync::Mutex;

use crate::{clock::Timestamp, id::StoreKey, sync::lock};

/// Capacity in keys.
const SLOTS: usize = 1024;

/// Keys of sessions that were regenerated or destroyed. A listed key stays dead.
pub(crate) type DeadKeys = KeyTable<()>;

/// Times at which this process last touched sessions.
pub(crate) type TouchTimes = KeyTable<Timestamp>;

/// Recent keys with a value. Each key has one slot; a new key replaces the old one there.
pub(crate) struct KeyTable<V>(Box<[KeySlot<V>]>);

type KeySlot<V> = Mutex<Option<(StoreKey, V)>>;

impl<V: Copy> KeyTable<V> {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::new(None)).collect())
    }

    pub(super) fn insert(&self, key: StoreKey, value: V) {
        if let Some(slot) = self.slot(&key) {
            *lock(slot) = Some((key, value));
        }
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<V> {
        let entry = *lock(self.slot(key)?);
        entry.filter(|(found, _)| found == key).map(|entry| entry.1)
    }

    pub(super) fn remove(&self, key: &StoreKey) {
        if let Some(slot) = self.slot(key) {
            lock(slot).take_if(|(found, _)| found == key);
        }
    }

    fn slot(&self, key: &StoreKey) -> Option<&KeySlot<V>> {
        // A key is a hash already.
        let [a, b, ..] = key.as_bytes();
        self.0
            .get(usize::from(u16::from_le_bytes([*a, *b])) % SLOTS)
    }
}
