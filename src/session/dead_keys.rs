//! Ids that died lately in this process.
//!
//! A slow request may answer after its session has moved to another id or ended, and its response
//! would give the browser the old cookie back: a visitor who has just signed in would be signed out.
//! If it wrote something, the store tells it so; if it did not, this does. Other processes' dead ids
//! are not known here: then the old cookie stands until the next request that opens the session.

use std::sync::{Mutex, PoisonError};

use crate::id::StoreKey;

/// How many keys are remembered, each in the one place where it may be.
const SLOTS: usize = 1024;

/// Keys whose sessions moved or ended. A key that is in here is dead for good.
pub(crate) struct DeadKeys(Box<[Mutex<Option<StoreKey>>]>);

impl DeadKeys {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::new(None)).collect())
    }

    pub(super) fn insert(&self, key: StoreKey) {
        if let Some(place) = self.slot(&key) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        }
    }

    pub(super) fn contains(&self, key: &StoreKey) -> bool {
        self.slot(key).is_some_and(|place| {
            *place.lock().unwrap_or_else(PoisonError::into_inner) == Some(*key)
        })
    }

    /// A key is a hash already.
    fn slot(&self, key: &StoreKey) -> Option<&Mutex<Option<StoreKey>>> {
        let [a, b, ..] = key.as_bytes();
        self.0
            .get(usize::from(u16::from_le_bytes([*a, *b])) % SLOTS)
    }
}
