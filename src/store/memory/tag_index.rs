//! The index from tags to sessions.

use std::sync::Arc;

use dashmap::DashMap;

use super::{
    key_queue::is_oversized,
    key_set::{Bucket, KeySet},
};
use crate::{id::StoreKey, random_state::RandomState, store::Tags};

/// The keys under each tag name. A name with no key is removed.
///
/// Lock order: a thread that holds a slot of the record map may lock this index, never the other way
/// round. Therefore no method here returns a guard.
pub(super) struct TagIndex(pub(super) DashMap<Box<str>, KeySet, RandomState>);

impl TagIndex {
    pub(super) fn new() -> Self {
        Self(DashMap::with_hasher(RandomState::new()))
    }

    /// Accounts for the change of the tags of `key` from `before` to `after`.
    pub(super) fn update(&self, key: &StoreKey, before: Option<&Tags>, after: Option<&Tags>) {
        if before == after {
            return;
        }
        let has = |tags: Option<&Tags>, name| tags.is_some_and(|tags| tags.contains(name));
        for name in after
            .into_iter()
            .flatten()
            .filter(|name| !has(before, name))
        {
            self.add(name, *key);
        }
        for name in before
            .into_iter()
            .flatten()
            .filter(|name| !has(after, name))
        {
            self.remove(name, key);
        }
    }

    fn add(&self, name: &str, key: StoreKey) {
        if let Some(mut keys) = self.0.get_mut(name) {
            keys.insert(key);
            return;
        }
        let entry = self.0.entry(name.into());
        entry
            .and_modify(|keys| keys.insert(key))
            .or_insert(KeySet::One(key));
    }

    /// Removes `key` under `name`, and the name with its last key.
    fn remove(&self, name: &str, key: &StoreKey) {
        self.0.remove_if_mut(name, |_, keys| keys.remove(key));
    }

    /// Returns the keys under `name` at this moment, in parts.
    pub(super) fn keys(&self, name: &str) -> Vec<Arc<Bucket>> {
        let keys = self.0.get(name);
        keys.map(|keys| keys.snapshot()).unwrap_or_default()
    }

    /// Frees the memory that a larger number of names needed. Locks one shard at a time.
    pub(super) fn shrink(&self) {
        if is_oversized(self.0.capacity(), self.0.len()) {
            self.0.shrink_to_fit();
        }
    }
}
