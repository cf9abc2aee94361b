//! Keys of ids that died recently in this process.
//!
//! A slow request may finish after its session was regenerated or destroyed. Its response could
//! then set the old cookie again, and a visitor who has just signed in would be signed out. If a
//! request writes, the store reports that its id is dead. For a request that only reads, this list
//! does. It does not contain ids that died in another process. The browser then keeps the old cookie
//! until its next request that loads the session.

use std::sync::Mutex;

use crate::{id::StoreKey, sync::lock};

/// Capacity in keys.
const SLOTS: usize = 1024;

/// Keys of sessions that were regenerated or destroyed. A listed key stays dead.
///
/// Each key has one slot; a new key replaces the old one there.
pub(crate) struct DeadKeys(Box<[Mutex<Option<StoreKey>>]>);

impl DeadKeys {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::new(None)).collect())
    }

    pub(super) fn insert(&self, key: StoreKey) {
        if let Some(slot) = self.slot(&key) {
            *lock(slot) = Some(key);
        }
    }

    pub(super) fn contains(&self, key: &StoreKey) -> bool {
        self.slot(key).is_some_and(|slot| *lock(slot) == Some(*key))
    }

    fn slot(&self, key: &StoreKey) -> Option<&Mutex<Option<StoreKey>>> {
        // A key is a hash already.
        let [a, b, ..] = key.as_bytes();
        self.0
            .get(usize::from(u16::from_le_bytes([*a, *b])) % SLOTS)
    }
}
