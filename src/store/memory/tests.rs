//! Invariants of the store's maps and queues while no call is in progress.

use std::{collections::HashMap, thread, time::Duration};

use super::{MemoryStore, slot::TableSlot, table::Table};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{Expected, Expiry, Tag, Tags, WriteRequest},
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
                table.tag_index.keys(name).contains(entry.key()),
                "the index knows {name}"
            );
            tags += 1;
        }
    }
    let listed = TAGS.iter().map(|name| table.tag_index.keys(name).len());
    assert_eq!(listed.sum::<usize>(), tags, "the index lists nothing else");
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
