//! Invariants of the store's maps and queues while no call is in progress.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::Duration,
};

use super::{MemoryStore, slot::TableSlot, table::Table};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{Expected, Expiry, Store, Tag, Tags, WriteRequest},
    sync::lock,
};

const KEYS: u64 = 64;
const TAGS: [&str; 3] = ["one", "two", "three"];

fn key(number: u64) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    // The first byte selects the stripe of a queue.
    bytes
        .iter_mut()
        .for_each(|byte| *byte = (number % KEYS) as u8);
    StoreKey::from_bytes(bytes)
}

fn request(key: &StoreKey, expiry: Expiry) -> WriteRequest {
    WriteRequest::new(key, "data", expiry, Expected::Any)
}

/// Returns the tags that are set in the low bits of `number`.
fn tags(number: u64) -> Tags {
    let mut tags = Tags::new();
    for (bit, name) in TAGS.iter().enumerate() {
        if number >> bit & 1 == 1 {
            tags.insert(&Tag::new(*name).unwrap()).unwrap();
        }
    }
    tags
}

/// Creates, tags, destroys, evicts and sweeps records, in an order that differs by thread.
fn use_store(table: &Table, thread: u64) {
    for round in 0..20_000 {
        let number = round * (2 * thread + 1) + thread;
        let (at, ttl) = (key(number), Duration::from_millis(number % 30));
        match number % 11 {
            0..=3 => drop(table.write(request(&at, ttl.into()))),
            4..=6 => drop(table.write(request(&at, ttl.into()).tags(tags(round)))),
            7 => drop(table.write(request(&at, Expiry::Keep).tags(tags(number)))),
            8 => table.destroy(&at),
            9 => table.settings.clock.advance(Duration::from_millis(1)),
            _ => drop(table.sweep(4)),
        }
    }
}

/// Checks that every key of the map is in one queue, once, and that the index lists exactly the tags
/// of the records.
fn assert_consistent(table: &Table) {
    let mut queued = HashMap::new();
    for queue in [&table.live_queue, &table.tombstone_queue] {
        for key in queue.pop_batch(queue.len()) {
            *queued.entry(key).or_insert(0) += 1;
            queue.push(key);
        }
    }
    assert!(
        queued.values().all(|times| *times == 1),
        "no key is in the queues twice"
    );
    assert_eq!(queued.len(), table.slots.len());
    let mut tags = 0;
    for entry in &table.slots {
        assert!(queued.contains_key(entry.key()), "every key is queued");
        for name in entry.value().tags().into_iter().flatten() {
            assert!(
                listed(table, name).contains(entry.key()),
                "the index knows {name}"
            );
            tags += 1;
        }
    }
    let listed = TAGS.iter().map(|name| listed(table, name).len());
    assert_eq!(listed.sum::<usize>(), tags, "the index lists nothing else");
}

/// Returns the keys that the index lists under a tag.
fn listed(table: &Table, name: &str) -> Vec<StoreKey> {
    let parts = table.tag_index.keys(name);
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

/// Returns a key of its own for each number. Keys are spread like hashes.
fn spread_key(number: u64) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    StoreKey::from_bytes(bytes)
}

#[test]
fn a_tag_lists_its_sessions_at_any_size() {
    let MemoryStore(table) = MemoryStore::new();
    let hour = Duration::from_secs(3600);
    let mut expected = HashSet::new();
    // Grows beyond the size at which the set of a tag is split, shrinks again, and does it twice.
    for (add, count) in [(true, 5_000), (false, 4_999), (true, 3_000), (false, 5_000)] {
        for number in 0..count {
            let at = spread_key(number);
            let tags = if add { tags(1) } else { Tags::new() };
            drop(table.write(request(&at, hour.into()).tags(tags)));
            let changed = if add {
                expected.insert(at)
            } else {
                expected.remove(&at)
            };
            let is_checked = number % 911 == 0 || number < 4 || number.abs_diff(2_048) < 3;
            if is_checked && changed {
                let found = listed(&table, "one");
                assert_eq!(found.len(), expected.len(), "each is listed once");
                assert_eq!(HashSet::from_iter(found), expected);
            }
        }
    }
    assert!(table.tag_index.0.is_empty(), "the tag is gone");
}

#[test]
fn a_list_of_sessions_does_not_change_while_it_is_read() {
    let MemoryStore(table) = MemoryStore::new();
    let hour = Duration::from_secs(3600);
    for number in 0..3_000 {
        drop(table.write(request(&spread_key(number), hour.into()).tags(tags(1))));
    }
    let parts = table.tag_index.keys("one");
    for number in 0..3_000 {
        drop(table.write(request(&spread_key(number), hour.into())));
    }
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), 3_000);
    assert!(listed(&table, "one").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_gives_back_the_memory_of_a_flood() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let table = &store.0;
    for number in 0..50_000 {
        let at = spread_key(number);
        let ttl = Duration::from_secs(1);
        let request = request(&at, ttl.into()).tags(tags(1));
        assert!(store.write(request).await.is_ok());
    }
    let queue_capacity = || -> usize {
        let stripes = table.live_queue.stripes.iter();
        stripes.map(|stripe| lock(stripe).capacity()).sum()
    };
    let full = [
        table.slots.capacity(),
        queue_capacity(),
        table.tag_index.0.capacity(),
    ];
    assert!(full[0] >= 50_000 && full[1] >= 50_000, "{full:?}");
    clock.advance(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let empty = [table.slots.capacity(), queue_capacity()];
    assert!(empty.iter().all(|capacity| *capacity < 20_000), "{empty:?}");
}

#[test]
fn queues_and_indexes_agree_with_the_map_after_any_race() {
    for limit in [1_000, 20] {
        let clock = Clock::manual(Timestamp::from_millis(1));
        let builder = MemoryStore::builder()
            .clock(clock.clone())
            .max_records(limit);
        let builder = builder
            .max_tombstones(limit)
            .tombstone_ttl(Duration::from_millis(20));
        let MemoryStore(table) = builder.build();
        thread::scope(|scope| {
            for thread in 0..4 {
                let table = &*table;
                scope.spawn(move || use_store(table, thread));
            }
        });
        assert_consistent(&table);
        clock.advance(Duration::from_secs(1));
        table.sweep_all();
        assert_consistent(&table);
        assert!(table.slots.is_empty() && table.tag_index.0.is_empty());
    }
}

#[test]
fn a_slot_is_small() {
    assert!(
        size_of::<TableSlot>() <= 56,
        "the size of a slot is part of every record"
    );
}
