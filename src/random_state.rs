//! The seeds of hash tables. Clients may choose the keys of some tables, such as tags.

#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher, RandomState as StdRandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use ahash::AHasher;

/// The secret seeds of this process.
///
/// The feature of `ahash` for random seeds would compile a second version of `getrandom`.
static SEEDS: LazyLock<[u64; 4]> = LazyLock::new(|| {
    let random = StdRandomState::new();
    [0_u8, 1, 2, 3].map(|index| random.hash_one(index))
});

static TABLES: AtomicU64 = AtomicU64::new(0);

/// A hash function with secret seeds. Each table has its own: inserting the keys of one table into another in order
/// takes quadratic time if both have the same seeds.
#[derive(Clone)]
pub(crate) struct RandomState(ahash::RandomState);

impl RandomState {
    pub(crate) fn new() -> Self {
        let [first, second, third, fourth] = *SEEDS;
        let first = first.wrapping_add(TABLES.fetch_add(1, Relaxed));
        Self(ahash::RandomState::with_seeds(first, second, third, fourth))
    }
}

impl Default for RandomState {
    fn default() -> Self {
        Self::new()
    }
}

impl BuildHasher for RandomState {
    type Hasher = AHasher;

    #[inline]
    fn build_hasher(&self) -> AHasher {
        self.0.build_hasher()
    }
}
