//! The index from tags to sessions.

use std::{collections::HashSet, sync::Arc};

use ahash::RandomState;
use dashmap::DashMap;

use super::slot::TagNames;
use crate::id::StoreKey;

/// The keys under each tag name. A name with no key is removed.
///
/// Lock order: a thread that holds a slot of the record map may lock this index, never the other way
/// round. Therefore no method here returns a guard.
pub(super) struct TagIndex(
    pub(super) DashMap<Arc<str>, HashSet<StoreKey, RandomState>, RandomState>,
);

impl TagIndex {
    pub(super) fn new() -> Self {
        Self(DashMap::with_hasher(RandomState::new()))
    }

    /// Adds `key` under `name`. Returns the name in its shared form.
    pub(super) fn add(&self, name: &str, key: StoreKey) -> Arc<str> {
        if let Some(mut keys) = self.0.get_mut(name) {
            keys.insert(key);
            return Arc::clone(keys.key());
        }
        let mut keys = self.0.entry(Arc::from(name)).or_default();
        keys.insert(key);
        Arc::clone(keys.key())
    }

    /// Removes `key` under `name`, and the name with its last key.
    pub(super) fn remove(&self, name: &str, key: &StoreKey) {
        self.0.remove_if_mut(name, |_, keys| {
            keys.remove(key);
            keys.is_empty()
        });
    }

    /// Removes `key` under each of `tags`.
    pub(super) fn remove_all(&self, tags: &TagNames, key: &StoreKey) {
        for name in &tags.0 {
            self.remove(name, key);
        }
    }

    /// Returns the keys under `name` at this moment.
    pub(super) fn keys(&self, name: &str) -> Vec<StoreKey> {
        self.0
            .get(name)
            .map(|keys| keys.iter().copied().collect())
            .unwrap_or_default()
    }
}
