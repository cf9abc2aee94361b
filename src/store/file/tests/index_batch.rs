//! Changes of the index that are applied in batches, on several threads.

use std::iter;

use super::{
    super::{
        log::index::{INDEX_SHARDS, Index, IndexChange, IndexEntry, Position},
        recover::index_batch::{BatchLimits, IndexBatch},
    },
    disk::SeededRng,
};
use crate::{clock::Timestamp, id::StoreKey};

fn key(number: u64) -> StoreKey {
    let mut bytes = [7; StoreKey::LEN];
    // The first byte selects the shard.
    bytes[..2].copy_from_slice(&(number as u16).to_le_bytes());
    StoreKey::from_bytes(bytes)
}

fn random_change(rng: &mut SeededRng, number: u32) -> (StoreKey, IndexChange) {
    let (key, version) = (key(rng.next_below(1000)), rng.next_below(3));
    let expires = Timestamp::from_millis(number.into());
    let entry = IndexEntry {
        version,
        expires,
        position: Position {
            segment: 1,
            offset: number,
        },
        len: number,
        tombstone: rng.next_below(4) == 0,
        tagged: false,
        key_slot: rng.next_below(3) as u8,
    };
    let change = match rng.next_below(3) {
        0 => IndexChange::Touch(key, version, expires),
        _ => IndexChange::Set(key, entry),
    };
    (key, change)
}

fn content(index: &Index) -> Vec<(StoreKey, IndexEntry)> {
    let mut entries = index.entries(|_| true);
    entries.sort_unstable_by_key(|(key, _)| *key.as_bytes());
    entries
}

/// Each number of changes from none to beyond a batch, on one to nine threads.
#[test]
fn batches_on_threads_have_the_same_result_as_single_changes() {
    for max_threads in 1..=9 {
        let limits = BatchLimits {
            max_changes: 700,
            min_changes_per_thread: 40,
            max_threads,
        };
        for count in [0, 1, 39, 40, 80, 699, 700, 701, 5000] {
            let (single, batched) = (Index::new(), Index::new());
            let mut batch = IndexBatch::new(limits);
            let seed = u64::from(count) * 16 + max_threads as u64;
            let (mut one, mut other) = (SeededRng(seed), SeededRng(seed));
            for number in 0..count {
                let (key, change) = random_change(&mut one, number);
                single.apply(Index::shard_of(&key), iter::once(change));
                let (key, change) = random_change(&mut other, number);
                batch.push(&batched, &key, change);
            }
            batch.apply(&batched);
            assert_eq!(content(&single), content(&batched), "{count} changes");
            let counts = |index: &Index| {
                let (records, tombstones) = (index.records(), index.tombstones());
                (records, tombstones, index.other_key_records())
            };
            assert_eq!(counts(&single), counts(&batched), "{count} changes");
            assert!(count < 5000 || batched.records() > INDEX_SHARDS as u64);
        }
    }
}
