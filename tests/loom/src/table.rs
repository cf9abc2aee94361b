//! The part of `dashmap` that the memory store uses: a map behind locks, one for each shard.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    ops::{Deref, DerefMut},
};

use crate::sync::{Mutex, MutexGuard, lock};

/// Number of shards. Keys of two shards show the races between two locks.
const SHARDS: usize = 2;

type Shard<K, V> = Vec<(K, V)>;

pub(crate) struct DashMap<K, V, S> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    hasher: S,
}

/// A locked entry.
pub(crate) struct Ref<'m, K, V> {
    shard: MutexGuard<'m, Shard<K, V>>,
    index: usize,
}

pub(crate) struct OccupiedEntry<'m, K, V>(Ref<'m, K, V>);

pub(crate) struct VacantEntry<'m, K, V> {
    shard: MutexGuard<'m, Shard<K, V>>,
    key: K,
}

pub(crate) enum Entry<'m, K, V> {
    Occupied(OccupiedEntry<'m, K, V>),
    Vacant(VacantEntry<'m, K, V>),
}

impl<K: Eq + Hash, V, S: BuildHasher> DashMap<K, V, S> {
    pub(crate) fn with_hasher(hasher: S) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Vec::new())),
            hasher,
        }
    }

    pub(crate) fn with_hasher_and_shard_amount(hasher: S, _: usize) -> Self {
        Self::with_hasher(hasher)
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V>> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let shard = self.shard(key);
        let index = shard.iter().position(|(found, _)| found.borrow() == key)?;
        Some(Ref { shard, index })
    }

    pub(crate) fn get_mut<Q>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key)
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let shard = self.shard(&key);
        match shard.iter().position(|(found, _)| *found == key) {
            Some(index) => Entry::Occupied(OccupiedEntry(Ref { shard, index })),
            None => Entry::Vacant(VacantEntry { shard, key }),
        }
    }

    pub(crate) fn remove_if_mut<Q>(&self, key: &Q, remove: impl FnOnce(&K, &mut V) -> bool)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(mut entry) = self.get(key) {
            let index = entry.index;
            let (key, value) = &mut entry.shard[index];
            if remove(key, value) {
                entry.shard.swap_remove(index);
            }
        }
    }

    /// Locks one entry after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ref<'_, K, V>> {
        self.shards.iter().flat_map(|shard| {
            let entry = |index| {
                let shard = lock(shard);
                (index < shard.len()).then(|| Ref { shard, index })
            };
            (0..).map_while(entry)
        })
    }

    /// Locks one shard after the other.
    pub(crate) fn retain(&self, mut is_kept: impl FnMut(&K, &mut V) -> bool) {
        for shard in &self.shards {
            lock(shard).retain_mut(|(key, value)| is_kept(key, value));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.len()
    }

    pub(crate) fn shrink_to_fit(&self) {}
}

impl<K, V> Ref<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.shard[self.index].0
    }

    pub(crate) fn value(&self) -> &V {
        self
    }
}

impl<K, V> OccupiedEntry<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        self.0.key()
    }

    pub(crate) fn get(&self) -> &V {
        &self.0
    }

    pub(crate) fn get_mut(&mut self) -> &mut V {
        &mut self.0
    }

    pub(crate) fn insert(&mut self, value: V) {
        *self.0 = value;
    }

    pub(crate) fn remove(mut self) -> V {
        let index = self.0.index;
        self.0.shard.swap_remove(index).1
    }
}

impl<K, V> Deref for Ref<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.shard[self.index].1
    }
}

impl<K, V> DerefMut for Ref<'_, K, V> {
    fn deref_mut(&mut self) -> &mut V {
        let index = self.index;
        &mut self.shard[index].1
    }
}

impl<K, V> VacantEntry<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    pub(crate) fn insert(mut self, value: V) {
        self.shard.push((self.key, value));
    }
}

impl<K, V> Entry<'_, K, V> {
    pub(crate) fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Self {
        if let Self::Occupied(entry) = &mut self {
            change(&mut entry.0);
        }
        self
    }

    pub(crate) fn or_insert(self, value: V) {
        if let Self::Vacant(entry) = self {
            entry.insert(value);
        }
    }
}
