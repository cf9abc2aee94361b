//! The set of sessions under one tag.

use std::{collections::HashSet, sync::Arc};

use crate::{id::StoreKey, random_state::RandomState};

/// Number of keys from which a set has [`BUCKETS`] buckets. Most tags name one user, who has few
/// sessions.
const SPLIT_LEN: usize = 2_048;

/// Number of buckets of a large set. Growing or copying one stays short with ten million keys.
const BUCKETS: usize = 256;

pub(super) type Bucket = HashSet<StoreKey, RandomState>;

/// A set of keys. It is never empty, except while it is removed from the index.
///
/// A [`snapshot`](Self::snapshot) is short for any size, since it shares the buckets. A change then copies
/// the bucket that it changes.
pub(super) enum KeySet {
    One(StoreKey),
    Many {
        len: usize,
        /// One bucket or [`BUCKETS`], chosen by a byte of the key.
        buckets: Vec<Arc<Bucket>>,
    },
}

impl KeySet {
    pub(super) fn insert(&mut self, key: StoreKey) {
        match self {
            Self::One(only) if *only == key => {}
            Self::One(only) => {
                let bucket = Bucket::from_iter([*only, key]);
                *self = Self::Many {
                    len: 2,
                    buckets: vec![Arc::new(bucket)],
                };
            }
            Self::Many { len, buckets } => {
                if *len == SPLIT_LEN {
                    split(buckets);
                }
                if let Some(bucket) = bucket_of(buckets, &key) {
                    *len += usize::from(Arc::make_mut(bucket).insert(key));
                }
            }
        }
    }

    /// Removes a key. Returns `true` if the set is empty now.
    pub(super) fn remove(&mut self, key: &StoreKey) -> bool {
        match self {
            Self::One(only) => only == key,
            Self::Many { len, buckets } => {
                if let Some(bucket) = bucket_of(buckets, key)
                    && bucket.contains(key)
                {
                    let keys = Arc::make_mut(bucket);
                    keys.remove(key);
                    *len -= 1;
                    if keys.capacity() > 4 * keys.len() + 64 {
                        keys.shrink_to(2 * keys.len());
                    }
                }
                *len == 0
            }
        }
    }

    /// Returns the keys at this moment, in parts of a few thousand while there are less than a million.
    pub(super) fn snapshot(&self) -> Vec<Arc<Bucket>> {
        match self {
            Self::One(only) => vec![Arc::new(Bucket::from_iter([*only]))],
            Self::Many { buckets, .. } => buckets.clone(),
        }
    }
}

/// Distributes the keys of the only bucket, if there is only one.
fn split(buckets: &mut Vec<Arc<Bucket>>) {
    if let [only] = &buckets[..] {
        let mut parts = vec![Bucket::default(); BUCKETS];
        for key in only.iter() {
            if let Some(part) = parts.get_mut(bucket_number(key)) {
                part.insert(*key);
            }
        }
        *buckets = parts.into_iter().map(Arc::new).collect();
    }
}

/// Keys are hashes, so any byte distributes them.
fn bucket_number(key: &StoreKey) -> usize {
    let [_, byte, ..] = *key.as_bytes();
    byte.into()
}

fn bucket_of<'a>(buckets: &'a mut [Arc<Bucket>], key: &StoreKey) -> Option<&'a mut Arc<Bucket>> {
    let number = bucket_number(key) % buckets.len().max(1);
    buckets.get_mut(number)
}
