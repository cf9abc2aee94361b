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

/// The hash function of keys that are hashes themselves.
///
/// Clients may learn keys, but cannot choose those that collide without the seed.
#[derive(Clone, Copy)]
pub(super) struct KeyHashState {
    seed: u64,
}

impl KeyHashState {
    fn new() -> Self {
        Self {
            seed: RandomState::new().hash_one(0),
        }
    }
}

impl BuildHasher for KeyHashState {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            seed: self.seed,
            sum: 0,
        }
    }
}

pub(super) struct KeyHasher {
    seed: u64,
    sum: u64,
}

impl Hasher for KeyHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64((*byte).into());
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.sum = self.sum.wrapping_add(word);
    }

    /// All keys have the same length.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        let product = u128::from(self.sum ^ self.seed) * 0x9E37_79B9_7F4A_7C15;
        (product >> 64) as u64 ^ product as u64
    }
}

/// Frees the memory that a larger number of entries needed. Locks one shard after the other.
pub(super) fn shrink<K: Eq + Hash, V>(partition: &Partition<K, V>) {
    if partition.capacity() > 4 * partition.len() + 64 {
        partition.shrink_to_fit();
    }
}
