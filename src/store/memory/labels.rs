//! The index from a tag to the sessions that carry it.

use std::{collections::HashSet, sync::Arc};

use ahash::RandomState;
use dashmap::DashMap;

use super::slot::Tags;
use crate::id::StoreKey;

/// Which keys carry which tag. No name is listed without a key.
///
/// Lock order: whoever holds a slot of the record map may ask for this index, never the other way
/// round. So every method here returns without a guard in its hands.
pub(super) struct Labels(pub(super) DashMap<Arc<str>, HashSet<StoreKey, RandomState>, RandomState>);

impl Labels {
    pub(super) fn new() -> Self {
        Self(DashMap::with_hasher(RandomState::new()))
    }

    /// Lists `key` under `name`, and gives the name in its shared form.
    pub(super) fn add(&self, name: &str, key: StoreKey) -> Arc<str> {
        if let Some(mut keys) = self.0.get_mut(name) {
            keys.insert(key);
            return Arc::clone(keys.key());
        }
        let mut keys = self.0.entry(Arc::from(name)).or_default();
        keys.insert(key);
        Arc::clone(keys.key())
    }

    /// Strikes `key` out under `name`, and the name itself with its last key.
    pub(super) fn remove(&self, name: &str, key: &StoreKey) {
        self.0.remove_if_mut(name, |_, keys| {
            keys.remove(key);
            keys.is_empty()
        });
    }

    /// Strikes `key` out under all of `tags`.
    pub(super) fn remove_all(&self, tags: &Tags, key: &StoreKey) {
        for name in &tags.0 {
            self.remove(name, key);
        }
    }

    /// The keys listed under `name` at this moment.
    pub(super) fn keys(&self, name: &str) -> Vec<StoreKey> {
        self.0
            .get(name)
            .map(|keys| keys.iter().copied().collect())
            .unwrap_or_default()
    }
}
