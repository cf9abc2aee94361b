//! A concurrent map in partitions, so that a sweep can visit one part after the other.

use std::hash::{BuildHasher, Hash, Hasher};

use dashmap::DashMap;

use crate::random_state::RandomState;

/// Number of shards of a partition, each behind its own lock. The least that `DashMap` has.
const SHARDS: usize = 2;

pub(super) type Partition<K, V> = DashMap<K, V, KeyHashState>;

/// Partitions of different sizes: the largest has about twice the entries of the smallest.
///
/// A hash table doubles its room when it is full. If all partitions had the same size, all of them would double at
/// once, and half of the room would be unused after it. With many sizes, a fixed share of the partitions has doubled.
pub(super) struct Partitions<K, V> {
    partitions: Box<[Partition<K, V>]>,
    hash_state: KeyHashState,
}

impl<K: Eq + Hash, V> Partitions<K, V> {
    /// Returns a map with `number` partitions, at least one.
    pub(super) fn new(number: usize) -> Self {
        let hash_state = KeyHashState::new();
        let partition = |_| DashMap::with_hasher_and_shard_amount(hash_state, SHARDS);
        Self {
            partitions: (0..number.max(1)).map(partition).collect(),
            hash_state,
        }
    }

    /// Returns the partition of `key`.
    #[inline]
    pub(super) fn partition(&self, key: &K) -> &Partition<K, V> {
        // The partition uses the other bits, unless it has more than 2^24 entries.
        let even = (self.hash_state.hash_one(key) >> 24) & u64::from(u32::MAX);
        let index = (uneven_share(even) * self.partitions.len() as u64) >> 32;
        // The share is below 2^32, so the index is below the number of partitions.
        #[expect(clippy::indexing_slicing)]
        &self.partitions[index as usize]
    }

    /// Returns the partitions in a fixed order.
    pub(super) fn partitions(&self) -> &[Partition<K, V>] {
        &self.partitions
    }
}

/// Returns a number below 2^32 for an evenly distributed one. Large numbers are about twice as frequent as small
/// ones.
#[inline]
const fn uneven_share(even: u64) -> u64 {
    // The function x + 5/16 (x - x^2) is near log2(1 + x).
    let bend = (even * (u32::MAX as u64 - even)) >> 32;
    even + (bend >> 2) + (bend >> 4)
}

/// The hash function of keys of one length, with two secret seeds.
///
/// A folded multiplication takes two words of a key, as in `foldhash` and `wyhash`. Each word is combined with a secret
/// before it is multiplied. So keys of any structure are spread, and a client that knows keys but no seed cannot
/// compute which of them collide.
#[derive(Clone, Copy)]
pub(super) struct KeyHashState {
    first: u64,
    second: u64,
}

impl KeyHashState {
    fn new() -> Self {
        let random = RandomState::new();
        Self::from_seeds([0, 1].map(|index: u64| random.hash_one(index)))
    }

    pub(super) const fn from_seeds([first, second]: [u64; 2]) -> Self {
        Self { first, second }
    }
}

impl BuildHasher for KeyHashState {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            state: self.first,
            seed: self.second,
        }
    }
}

pub(super) struct KeyHasher {
    state: u64,
    seed: u64,
}

impl KeyHasher {
    #[inline]
    fn write_words(&mut self, first: u64, second: u64) {
        let product = u128::from(self.state ^ first) * u128::from(self.seed ^ second);
        self.state = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for KeyHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<16>();
        for pair in pairs {
            let pair = u128::from_le_bytes(*pair);
            self.write_words(pair as u64, (pair >> 64) as u64);
        }
        for byte in rest {
            self.write_u64((*byte).into());
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.write_words(word, 0);
    }

    /// All keys have the same length.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

/// Frees the memory that a larger number of entries needed. Locks one shard after the other.
pub(super) fn shrink<K: Eq + Hash, V>(partition: &Partition<K, V>) {
    if partition.capacity() > 4 * partition.len() + 64 {
        partition.shrink_to_fit();
    }
}
