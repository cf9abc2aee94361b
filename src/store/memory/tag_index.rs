//! The index from tags to sessions.

use std::{hash::BuildHasher, sync::Arc};

use smallvec::SmallVec;

use super::{
    key_set::{Bucket, KeySet},
    partitions::Partitions,
};
use crate::{id::StoreKey, random_state::RandomState, store::Tags};

/// The keys under the hash of each tag name. A hash with no key is removed.
///
/// Two names may have one hash. Then the index lists the keys of both, and the tags of their records decide.
///
/// Lock order: a thread that holds a slot of the record map may lock this index, never the other way
/// round. Therefore no method here returns a guard.
pub(super) struct TagIndex {
    pub(super) keys: Partitions<TagHash, KeySet>,
    hasher: RandomState,
}

/// The hash of a tag name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TagHash(pub(super) u64);

type TagHashes = SmallVec<[TagHash; 4]>;

impl TagIndex {
    /// Returns an index with `partitions` partitions, at least one.
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            keys: Partitions::new(partitions),
            hasher: RandomState::new(),
        }
    }

    /// Accounts for the change of the tags of `key` from `before` to `after`.
    pub(super) fn update(&self, key: &StoreKey, before: Option<&Tags>, after: Option<&Tags>) {
        if before != after {
            self.update_hashes(key, &self.hashes(before), &self.hashes(after));
        }
    }

    pub(super) fn update_hashes(&self, key: &StoreKey, before: &[TagHash], after: &[TagHash]) {
        for hash in after.iter().filter(|hash| !before.contains(hash)) {
            self.add(*hash, *key);
        }
        for hash in before.iter().filter(|hash| !after.contains(hash)) {
            self.remove(hash, key);
        }
    }

    fn hashes(&self, tags: Option<&Tags>) -> TagHashes {
        let names = tags.into_iter().flatten();
        names.map(|name| self.hash(name)).collect()
    }

    fn hash(&self, name: &str) -> TagHash {
        TagHash(self.hasher.hash_one(name))
    }

    fn add(&self, hash: TagHash, key: StoreKey) {
        let entry = self.keys.partition(&hash).entry(hash);
        entry
            .and_modify(|keys| keys.insert(key))
            .or_insert(KeySet::One(key));
    }

    /// Removes `key` under `hash`, and the hash with its last key.
    fn remove(&self, hash: &TagHash, key: &StoreKey) {
        let partition = self.keys.partition(hash);
        partition.remove_if_mut(hash, |_, keys| keys.remove(key));
    }

    /// Returns the keys under the hash of `name` at this moment, in parts.
    pub(super) fn keys(&self, name: &str) -> Vec<Arc<Bucket>> {
        let hash = self.hash(name);
        let keys = self.keys.partition(&hash).get(&hash);
        keys.map(|keys| keys.snapshot()).unwrap_or_default()
    }
}
