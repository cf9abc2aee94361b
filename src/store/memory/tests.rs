//! What must hold inside the store when no call is under way.

use std::{collections::HashMap, thread, time::Duration};

use bytes::Bytes;

use super::{MemoryStore, engine::Engine, slot::Slot};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::Expected,
};

const KEYS: u64 = 64;
const TAGS: [&str; 3] = ["one", "two", "three"];

fn key(number: u64) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    // The first byte chooses the stripe of a ring.
    bytes
        .iter_mut()
        .for_each(|byte| *byte = (number % KEYS) as u8);
    StoreKey::from_bytes(bytes)
}

/// Calls that make, tag, end, evict and sweep records, in an order that differs by thread.
fn use_store(engine: &Engine, thread: u64) {
    for round in 0..20_000 {
        let number = round * (2 * thread + 1) + thread;
        let (at, ttl) = (key(number), Duration::from_millis(number % 30));
        match number % 11 {
            0..=3 => drop(engine.write(&at, Bytes::from_static(b"data"), ttl, Expected::Any)),
            4 | 5 => drop(engine.tag(&at, TAGS[(round % 3) as usize])),
            6 => drop(engine.move_tags(&at, &key(number / 3))),
            7 => engine.untag(&at, TAGS[(round % 3) as usize]),
            8 => engine.destroy(&at),
            9 => engine.settings.clock.advance(Duration::from_millis(1)),
            _ => drop(engine.sweep(4)),
        }
    }
}

/// Every key of the map is in one ring, once; every tag of a record is in the index, and only that.
fn assert_consistent(engine: &Engine) {
    let mut in_rings = HashMap::new();
    for ring in [&engine.fresh, &engine.tombs] {
        for key in ring.take(ring.len()) {
            *in_rings.entry(key).or_insert(0) += 1;
            ring.push(key);
        }
    }
    assert!(
        in_rings.values().all(|times| *times == 1),
        "no key is in the rings twice"
    );
    assert_eq!(in_rings.len(), engine.slots.len());
    let mut tags = 0;
    for entry in &engine.slots {
        assert!(in_rings.contains_key(entry.key()), "every key is in a ring");
        if let Slot::Live(live) = entry.value() {
            for name in live.tag_names() {
                assert!(
                    engine.labels.keys(name).contains(entry.key()),
                    "the index knows {name}"
                );
                tags += 1;
            }
        }
    }
    let listed = TAGS.iter().map(|name| engine.labels.keys(name).len());
    assert_eq!(listed.sum::<usize>(), tags, "the index lists nothing else");
}

#[test]
fn rings_and_indexes_agree_with_the_map_after_any_race() {
    for limit in [1_000, 20] {
        let clock = Clock::manual(Timestamp::from_millis(1));
        let builder = MemoryStore::builder()
            .clock(clock.clone())
            .max_records(limit);
        let builder = builder
            .max_tombstones(limit)
            .tombstone_ttl(Duration::from_millis(20));
        let MemoryStore(engine) = builder.build();
        thread::scope(|scope| {
            for thread in 0..4 {
                let engine = &*engine;
                scope.spawn(move || use_store(engine, thread));
            }
        });
        assert_consistent(&engine);
        clock.advance(Duration::from_secs(1));
        engine.sweep_all();
        assert_consistent(&engine);
        assert!(engine.slots.is_empty() && engine.labels.0.is_empty());
    }
}

#[test]
fn a_slot_is_small() {
    assert!(
        size_of::<Slot>() <= 56,
        "every record pays for what is added to a slot"
    );
}
