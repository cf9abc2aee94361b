use std::{sync::Arc, time::Duration};

use loom::thread;

use super::{key_queue::KeyQueue, settings::Settings, table::Table};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    model,
    store::{Expected, ReadOutcome, Tag, Tags, WriteOutcome, WriteRequest},
};

const HOUR: Duration = Duration::from_secs(3600);

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

/// Returns a table with room for `max_records`, and its clock.
fn table(max_records: u64) -> (Arc<Table>, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(1_000_000));
    let settings = Settings {
        clock: clock.clone(),
        max_records,
        ..Settings::default()
    };
    (Arc::new(Table::new(settings)), clock)
}

fn request(key: &StoreKey, data: &'static str, expected: Expected) -> WriteRequest {
    let mut tags = Tags::new();
    tags.insert(&Tag::new("user").unwrap()).unwrap();
    WriteRequest::new(key, data, HOUR, expected).tags(tags)
}

/// Checks that each key of the map is in one queue, once, and that the counters and the tag index are exact.
fn check(table: &Table, keys: &[StoreKey]) {
    let stored: Vec<StoreKey> = table.slots.iter().map(|slot| *slot.key()).collect();
    let mut queued: Vec<StoreKey> = [&table.live_queue, &table.tombstone_queue]
        .into_iter()
        .flat_map(|queue| queue.pop_batch(usize::MAX))
        .collect();
    queued.sort_unstable();
    let mut sorted = stored.clone();
    sorted.sort_unstable();
    assert_eq!(queued, sorted, "each key is in one queue");
    let live = table.live_keys();
    let stats = table.counters.stats();
    assert_eq!(stats.records, live.len() as u64);
    assert_eq!(stats.records + stats.tombstones, stored.len() as u64);
    let indexed = table.tag_index.keys("user");
    for key in keys {
        let is_indexed = indexed.iter().any(|part| part.contains(key));
        assert_eq!(
            is_indexed,
            live.contains(key),
            "the index agrees with the map"
        );
    }
}

#[test]
fn of_two_writes_that_expect_one_version_one_is_stored() {
    model(3, || {
        let (table, _) = table(10);
        let WriteOutcome::Done(version) = table.write(request(&key(1), "a", Expected::Absent))
        else {
            panic!("the key is new");
        };
        let expected = Expected::Version(version);
        let other = Arc::clone(&table);
        let writer = thread::spawn(move || other.write(request(&key(1), "b", expected)));
        let own = table.write(request(&key(1), "c", expected));
        let other = writer.join().unwrap();
        let is_done = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Done(_));
        assert!(is_done(&own) != is_done(&other));
        check(&table, &[key(1)]);
    });
}

#[test]
fn a_write_does_not_revive_a_destroyed_session() {
    model(3, || {
        let (table, _) = table(10);
        table.write(request(&key(1), "a", Expected::Absent));
        let other = Arc::clone(&table);
        let destroyer = thread::spawn(move || other.destroy(&key(1)));
        table.write(request(&key(1), "b", Expected::Absent));
        let _ = table.read_and_touch(&key(1), HOUR);
        destroyer.join().unwrap();
        assert!(matches!(table.read(&key(1)), ReadOutcome::Gone));
        check(&table, &[key(1)]);
    });
}

#[test]
fn sweeps_at_once_keep_each_living_key_in_one_queue() {
    model(2, || {
        let (table, clock) = table(10);
        table.write(request(&key(1), "a", Expected::Absent));
        clock.advance(HOUR);
        let other = Arc::clone(&table);
        let sweeper = thread::spawn(move || other.sweep_all());
        table.write(request(&key(1), "b", Expected::Any));
        table.sweep(4);
        sweeper.join().unwrap();
        assert!(matches!(table.read(&key(1)), ReadOutcome::Found(_)));
        check(&table, &[key(1)]);
    });
}

#[test]
fn evictions_and_a_destroy_at_once_leave_exact_counters() {
    model(2, || {
        let (table, _) = table(1);
        table.write(request(&key(1), "a", Expected::Absent));
        let other = Arc::clone(&table);
        let destroyer = thread::spawn(move || other.destroy(&key(1)));
        table.write(request(&key(2), "b", Expected::Absent));
        destroyer.join().unwrap();
        assert!(matches!(table.read(&key(2)), ReadOutcome::Found(_)));
        check(&table, &[key(1), key(2)]);
    });
}

#[test]
fn each_queued_key_is_taken_once() {
    model(3, || {
        let queue = Arc::new(KeyQueue::new());
        queue.push(key(1));
        let other = Arc::clone(&queue);
        let taker = thread::spawn(move || {
            other.push(key(2));
            other.pop_batch(2)
        });
        let mut taken = queue.pop_batch(2);
        taken.extend(taker.join().unwrap());
        taken.extend(queue.pop_batch(2));
        taken.sort_unstable();
        assert_eq!(&taken[..], [key(1), key(2)]);
        assert_eq!(queue.len(), 0);
    });
}
