//! The index in memory from tags to sessions.

use std::{
    collections::{BTreeSet, HashMap},
    hash::BuildHasher,
};

use bytes::Bytes;

use crate::{
    id::StoreKey,
    random_state::RandomState,
    store::{Tag, Tags},
};

/// The sessions that have tags. A session without tags takes no memory here.
///
/// The log's lock protects it, as it protects changes of [`Index`](super::index::Index). A holder of
/// the lock therefore sees a key under a tag if and only if the key's record has the tag.
#[derive(Default)]
pub(crate) struct TaggedKeys {
    tags: HashMap<StoreKey, Tags, RandomState>,
    /// Each tag, as the hash of its name, with each of its keys. It takes less memory than a set of
    /// keys for each name, since most tags have few sessions.
    keys: BTreeSet<(u64, StoreKey)>,
    hasher: RandomState,
}

impl TaggedKeys {
    /// Replaces the tags of `key`.
    pub(crate) fn set(&mut self, key: &StoreKey, tags: &Tags) {
        if self.tags.get(key) == Some(tags) {
            return;
        }
        self.remove(key);
        if !tags.is_empty() {
            for name in tags {
                self.keys.insert((self.hasher.hash_one(name), *key));
            }
            self.tags.insert(*key, copy_tags(tags));
        }
    }

    /// Removes the tags of `key`.
    pub(crate) fn remove(&mut self, key: &StoreKey) {
        for name in &self.tags.remove(key).unwrap_or_default() {
            self.keys.remove(&(self.hasher.hash_one(name), *key));
        }
    }

    /// Returns the tags of `key`.
    pub(crate) fn get(&self, key: &StoreKey) -> Option<&Tags> {
        self.tags.get(key)
    }

    /// Iterates over the keys that have `tag`.
    pub(crate) fn keys(&self, tag: &Tag) -> impl Iterator<Item = &StoreKey> {
        let name = tag.as_str();
        let hash = self.hasher.hash_one(name);
        let [first, last] = [0, u8::MAX].map(|byte| StoreKey::from_bytes([byte; StoreKey::LEN]));
        let candidates = self.keys.range((hash, first)..=(hash, last));
        candidates
            .map(|(_, key)| key)
            // Another tag may have the same hash.
            .filter(move |key| self.tags.get(key).is_some_and(|tags| tags.contains(name)))
    }

    /// Returns the number of sessions that have a tag.
    pub(crate) fn len(&self) -> usize {
        self.tags.len()
    }
}

/// Returns a copy of `tags`, since a part of a large buffer would keep the whole buffer.
pub(super) fn copy_tags(tags: &Tags) -> Tags {
    Tags::from_bytes(Bytes::copy_from_slice(tags.as_bytes())).unwrap_or_default()
}
