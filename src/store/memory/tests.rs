//! Invariants of the store's maps and its queue while no call is in progress.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    MemoryStore,
    partitions::KeyHashState,
    settings::Settings,
    slot::TableSlot,
    stats::Weight,
    sweeper::Sweeper,
    table::Table,
    tag_index::{TagHash, TagIndex},
};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, ScanStore, Tag, TagStore, Tags, WriteRequest},
    sync::lock,
};

const KEYS: u64 = 64;
const TAGS: [&str; 3] = ["one", "two", "three"];

fn key(number: u64) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
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
            _ => drop(table.sweep_partition(number as usize % 512)),
        }
    }
}

/// Checks that every tombstone has one valid entry in the queue, that the counters are exact, and that the index
/// lists exactly the tags of the records.
fn assert_consistent(table: &Table) {
    let mut queued = HashMap::new();
    let entries: Vec<_> =
        std::iter::from_fn(|| table.tombstone_queue.pop(Timestamp::MAX)).collect();
    for (end, key) in entries {
        *queued.entry((end, key)).or_insert(0) += 1;
        table.tombstone_queue.push((end, key));
    }
    let (mut tags, mut sum) = (0, Weight::default());
    for entry in table.slots.partitions().iter().flat_map(|it| it.iter()) {
        if let TableSlot::Tombstone { queued: end, .. } = entry.value() {
            assert_eq!(queued.get(&(*end, *entry.key())), Some(&1), "it is queued");
        }
        let weight = entry.value().weight();
        sum.records += weight.records;
        sum.tombstones += weight.tombstones;
        sum.bytes += weight.bytes;
        for name in entry.value().tags().into_iter().flatten() {
            assert!(
                listed(table, name).contains(entry.key()),
                "the index knows {name}"
            );
            tags += 1;
        }
    }
    let stats = table.counters.stats();
    assert_eq!(
        (sum.records, sum.tombstones, sum.bytes),
        (stats.records, stats.tombstones, stats.bytes)
    );
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
    assert_eq!(capacities(&table).tags_in_use, 0, "the tag is gone");
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

/// Sweeps as the thread does in two minutes.
fn sweep_for_two_minutes(table: &Table) {
    (0..120).for_each(|_| table.sweep_share());
}

#[test]
fn a_store_gives_back_the_memory_of_a_flood() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let MemoryStore(table) = MemoryStore::builder().clock(clock.clone()).build();
    for number in 0..50_000 {
        let ttl = Duration::from_secs(1);
        drop(table.write(request(&spread_key(number), ttl.into()).tags(tags(1))));
    }
    let full = capacities(&table);
    assert!(full.slots >= 50_000 && full.tags_in_use == 1, "{full:?}");
    clock.advance(Duration::from_secs(1));
    sweep_for_two_minutes(&table);
    let empty = capacities(&table);
    assert!(empty.slots < 5_000 && empty.tags < 5_000, "{empty:?}");
}

#[test]
fn a_flood_of_any_size_is_gone_two_minutes_after_its_expiry() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    // More partitions than the default.
    let builder = MemoryStore::builder().max_records(5_000_000);
    let MemoryStore(table) = builder.clock(clock.clone()).build();
    for number in 0..100_000 {
        drop(table.write(request(&spread_key(number), Duration::from_secs(1).into())));
    }
    (0..3_000).for_each(|number| table.destroy(&spread_key(number)));
    clock.advance(Duration::from_secs(60));
    sweep_for_two_minutes(&table);
    let stats = table.counters.stats();
    assert_eq!((stats.records, stats.tombstones, stats.bytes), (0, 0, 0));
}

#[test]
fn the_thread_sweeps_each_store_and_ends_with_the_last() {
    static OWN: Sweeper = Sweeper::new();
    let wait_until = |is_done: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !is_done() {
            let elapsed = began.elapsed();
            assert!(elapsed < Duration::from_secs(60), "a second is enough");
            thread::sleep(Duration::from_millis(20));
        }
    };
    // Twice, since another store may start the thread again.
    for _ in 0..2 {
        let stores = [MemoryStore::new(), MemoryStore::new()];
        for MemoryStore(table) in &stores {
            drop(table.write(request(&key(1), Duration::from_millis(1).into())));
            OWN.add(table);
        }
        assert!(lock(&OWN.0).is_running);
        for store in &stores {
            wait_until(&|| store.stats().records == 0);
        }
        drop(stores);
        wait_until(&|| !lock(&OWN.0).is_running);
    }
}

#[test]
fn a_record_whose_destructor_panics_does_not_end_the_sweeps() {
    struct PanickingData;

    impl AsRef<[u8]> for PanickingData {
        fn as_ref(&self) -> &[u8] {
            b"data"
        }
    }

    impl Drop for PanickingData {
        fn drop(&mut self) {
            panic!("a test of a panic");
        }
    }

    static OWN: Sweeper = Sweeper::new();
    let MemoryStore(table) = MemoryStore::new();
    OWN.add(&table);
    // The first record ends its sweep; the second one needs another sweep.
    let data = Bytes::from_owner(PanickingData);
    for (number, data) in [(1, data), (2, Bytes::from_static(b"data"))] {
        let ttl = Duration::from_millis(1);
        let request = WriteRequest::new(&spread_key(number), data, ttl, Expected::Any);
        drop(table.write(request));
        let began = Instant::now();
        while table.counters.records() > 0 {
            let elapsed = began.elapsed();
            assert!(elapsed < Duration::from_secs(60), "a second is enough");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_thread_that_cannot_be_started_is_started_later() {
    static OWN: Sweeper = Sweeper::new();
    let MemoryStore(table) = MemoryStore::new();
    let start = std::mem::replace(&mut lock(&OWN.0).start, |_| false);
    assert!(!OWN.add(&table));
    lock(&OWN.0).start = start;
    assert!(OWN.add(&table));
    assert!(lock(&OWN.0).is_running);
}

#[test]
fn a_store_for_more_records_has_more_partitions() {
    let partitions = |max| {
        let MemoryStore(table) = MemoryStore::builder().max_records(max).build();
        table.slots.partitions().len()
    };
    assert_eq!([1, 1_000_000].map(partitions), [512, 512]);
    assert_eq!([4_096_000, u64::MAX].map(partitions), [2_000, 4_096]);
}

/// The number of entries for which the maps have room.
#[derive(Debug)]
struct Capacities {
    slots: usize,
    tags: usize,
    tags_in_use: usize,
}

fn capacities(table: &Table) -> Capacities {
    let tags = table.tag_index.keys.partitions();
    Capacities {
        slots: table
            .slots
            .partitions()
            .iter()
            .map(|it| it.capacity())
            .sum(),
        tags: tags.iter().map(|it| it.capacity()).sum(),
        tags_in_use: tags.iter().map(|it| it.len()).sum(),
    }
}

#[test]
fn the_queue_and_the_index_agree_with_the_map_after_any_race() {
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
        assert!(table.slots.partitions().iter().all(|it| it.is_empty()));
        assert_eq!(capacities(&table).tags_in_use, 0);
        assert_eq!(table.tombstone_queue.pop(Timestamp::MAX), None);
    }
}

#[test]
fn a_slot_is_small() {
    assert!(
        size_of::<TableSlot>() <= 56,
        "the size of a slot is part of every record"
    );
}

#[test]
fn tags_with_one_hash_are_listed_until_the_last_is_removed() {
    let (index, key) = (TagIndex::new(1), spread_key(1));
    let (one, other) = (TagHash(1), TagHash(2));
    let is_listed = |hash: TagHash| {
        let keys = index.keys.partition(&hash).get(&hash);
        keys.is_some_and(|keys| keys.snapshot().iter().any(|part| part.contains(&key)))
    };
    // Two names with the hash `one`, of which one is removed, then the other.
    index.update_hashes(&key, &[], &[one, one, other]);
    assert!(is_listed(one) && is_listed(other));
    index.update_hashes(&key, &[one, one, other], &[one]);
    assert!(is_listed(one) && !is_listed(other));
    index.update_hashes(&key, &[one], &[]);
    assert!(!is_listed(one));
}

#[test]
fn partitions_differ_in_size_and_the_largest_is_small() {
    let MemoryStore(table) = MemoryStore::new();
    for number in 0..200_000 {
        drop(table.write(request(
            &spread_key(number),
            Duration::from_secs(3600).into(),
        )));
    }
    let mut sizes: Vec<usize> = table.slots.partitions().iter().map(|it| it.len()).collect();
    sizes.sort_unstable();
    let mean = 200_000 / sizes.len();
    // A pause is as long as the largest partition. The mean load of a table is best if sizes differ by two.
    let (small, large) = (sizes[sizes.len() / 20], sizes[sizes.len() * 19 / 20]);
    assert!(large < 2 * mean && large * 2 > small * 3, "{small} {large}");
}

#[test]
fn keys_of_any_structure_are_spread() {
    const NUMBER: u64 = 20_000;
    // Numbers in one word of the key or in several, in each byte order, and with a constant sum.
    let kinds: [fn(u64) -> [u64; 4]; 8] = [
        |it| [it, 0, 0, 0],
        |it| [0, 0, it, 0],
        |it| [0, it.swap_bytes(), 0, 0],
        |it| [0, 0, 0, it.swap_bytes()],
        |it| [it, it.wrapping_neg(), 0, 0],
        |it| [0, it, 0, it.wrapping_neg()],
        |it| [it, it, it, it],
        |it| [it % 150, it / 150, it / 150, it % 150],
    ];
    let state = KeyHashState::from_seeds([0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344]);
    for (kind, words) in kinds.iter().enumerate() {
        // How often each byte of the hash has each value.
        let mut counts = [[0; 256]; 8];
        for number in 0..NUMBER {
            let bytes = words(number).map(u64::to_le_bytes).concat();
            let key = StoreKey::from_bytes(bytes.try_into().unwrap());
            let hash = state.hash_one(key).to_le_bytes();
            for (byte, counts) in hash.into_iter().zip(&mut counts) {
                counts[usize::from(byte)] += 1;
            }
        }
        let largest = counts.iter().flatten().max().unwrap();
        assert!(*largest < 2 * NUMBER / 256, "kind {kind}: {largest}");
    }
}

#[test]
fn a_destroyed_session_that_is_destroyed_again_is_fenced_from_then_on() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let MemoryStore(table) = MemoryStore::builder().clock(clock.clone()).build();
    let second = Duration::from_secs(1);
    for _ in 0..1_000 {
        table.destroy(&key(1));
    }
    clock.advance(second);
    table.destroy(&key(1));
    let entries = || std::iter::from_fn(|| table.tombstone_queue.pop(Timestamp::MAX));
    let queued: Vec<_> = entries().collect();
    assert_eq!(queued.len(), 1, "repeated calls take no memory");
    table.tombstone_queue.push(queued[0]);
    clock.advance(second * 59);
    assert_eq!(table.sweep_tombstones(10), 1);
    assert_eq!(table.counters.tombstones(), 1, "it ends a second later");
    assert_consistent(&table);
    clock.advance(second);
    table.sweep_tombstones(10);
    assert_eq!((table.counters.tombstones(), entries().count()), (0, 0));
}

#[test]
fn pages_of_a_scan_are_short_and_hold_every_session() {
    let store = MemoryStore::new();
    for number in 0..10_000 {
        drop(store.0.write(request(
            &spread_key(number),
            Duration::from_secs(3600).into(),
        )));
    }
    let (mut found, mut next) = (HashSet::new(), None);
    loop {
        let page = store.scan_page(next.as_ref()).into_result();
        let page = page.ok().unwrap().unwrap();
        assert!(page.keys.len() < 1_200, "{}", page.keys.len());
        found.extend(page.keys);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 10_000);
}

#[test]
fn one_visit_of_a_partition_removes_a_limited_number_of_records() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let table = Table::new(Settings {
        clock: clock.clone(),
        partitions: 1,
        ..Settings::default()
    });
    for number in 0..3_000 {
        drop(table.write(request(&spread_key(number), Duration::from_secs(1).into())));
    }
    clock.advance(Duration::from_secs(1));
    let visits = [0, 1, 2].map(|_| table.sweep_partition(0).removed);
    assert_eq!(visits, [1_024, 1_024, 3_000 - 2 * 1_024]);
    assert_eq!(table.counters.stats().expired, 3_000);
}

#[test]
fn two_sessions_seldom_share_a_lock() {
    let MemoryStore(table) = MemoryStore::new();
    let keys: Vec<StoreKey> = (0..10_000).map(spread_key).collect();
    for key in &keys {
        drop(table.write(request(key, Duration::from_secs(3600).into())));
    }
    let count_locked = || {
        let is_locked = |key: &&StoreKey| table.slots.partition(key).try_get(key).is_locked();
        keys.iter().filter(is_locked).count()
    };
    let mut locked = 0;
    for key in &keys[..16] {
        let _written = table.slots.partition(key).get_mut(key).unwrap();
        locked += count_locked();
    }
    // Each write locks one of 1,024 shards, of about ten keys each.
    assert!((16..320).contains(&locked), "{locked} of 160,000");
    let _read = table.slots.partition(&keys[0]).get(&keys[0]).unwrap();
    assert_eq!(count_locked(), 0, "reads do not wait for reads");
}

#[test]
fn a_clock_that_was_set_back_does_not_let_the_queue_of_tombstones_grow() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let builder = MemoryStore::builder().clock(clock.clone());
    let MemoryStore(table) = builder.max_tombstones(100).build();
    clock.set(Timestamp::from_millis(86_400_000));
    table.destroy(&key(0));
    clock.set(Timestamp::from_millis(1));
    for round in 0..50 {
        (0..20).for_each(|number| table.destroy(&spread_key(20 * round + number)));
        clock.advance(Duration::from_secs(61));
        for number in 0..table.slots.partitions().len() {
            table.sweep_partition(number);
        }
    }
    let entries = std::iter::from_fn(|| table.tombstone_queue.pop(Timestamp::MAX));
    assert!(entries.count() <= 100);
}

#[test]
fn only_the_first_tombstones_beyond_the_limit_that_have_not_ended_count_as_evicted() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let builder = MemoryStore::builder().clock(clock.clone());
    let MemoryStore(table) = builder.max_tombstones(2).build();
    let second = Duration::from_secs(1);
    let evicted = |destroyed: u64, pause: Duration| {
        clock.advance(pause);
        table.destroy(&key(destroyed));
        let stats = table.counters.stats();
        assert!(stats.tombstones <= 2);
        stats.tombstones_evicted
    };
    assert_eq!(evicted(1, second), 0);
    assert_eq!(evicted(2, second), 0, "the limit is not exceeded");
    assert_eq!(evicted(3, second), 1);
    assert!(matches!(table.read(&key(1)), ReadOutcome::Absent));
    assert!(matches!(table.read(&key(2)), ReadOutcome::Gone));
    assert_eq!(evicted(4, 59 * second), 1, "the second ends now");
    assert!(matches!(table.read(&key(3)), ReadOutcome::Gone));
    assert!(matches!(table.read(&key(4)), ReadOutcome::Gone));
    assert_consistent(&table);
}

#[test]
fn a_record_that_was_written_since_the_sample_is_not_evicted() {
    let clock = Clock::manual(Timestamp::from_millis(1));
    let MemoryStore(table) = MemoryStore::builder().clock(clock).max_records(16).build();
    let hour = Duration::from_secs(3600);
    (0..16).for_each(|number| drop(table.write(request(&spread_key(number), hour.into()))));
    let slot = table
        .slots
        .partition(&spread_key(3))
        .get(&spread_key(3))
        .unwrap();
    let TableSlot::Live(live) = slot.value() else {
        panic!("it was written");
    };
    let candidate = (live.expires, live.version, *slot.key());
    drop(slot);
    table.eviction_pool.add(vec![candidate]);
    drop(table.write(request(&spread_key(3), Expiry::Keep)));
    drop(table.write(request(&spread_key(16), hour.into())));
    let outcome = table.read(&spread_key(3));
    assert!(
        matches!(outcome, ReadOutcome::Found(_)),
        "it was written since"
    );
}

#[test]
fn a_tag_without_sessions_is_listed_at_once() {
    let store = MemoryStore::new();
    let listed = store.tagged(&Tag::new("one").unwrap()).into_result();
    assert_eq!(listed.ok().unwrap().unwrap(), []);
}
