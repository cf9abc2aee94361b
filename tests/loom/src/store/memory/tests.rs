use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use loom::thread;

use super::{settings::Settings, slot::TableSlot, table::Table};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{Expected, ReadOutcome, Tag, Tags, Version, WriteOutcome, WriteRequest},
};

const HOUR: Duration = Duration::from_secs(3600);

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

/// Returns a table with room for `max_records`, and its clock.
fn table(max_records: u64) -> (Arc<Table>, Clock) {
    table_with(max_records, 1_000)
}

/// Returns a table with room for so many records and tombstones, and its clock.
fn table_with(max_records: u64, max_tombstones: u64) -> (Arc<Table>, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(1_000_000));
    let settings = Settings {
        clock: clock.clone(),
        max_records,
        max_tombstones,
        partitions: 1,
        ..Settings::default()
    };
    (Arc::new(Table::new(settings)), clock)
}

thread_local! {
    /// The requests have a tag.
    static TAGGED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a model with tagged and with untagged records. All threads of a model run on one thread of the system.
fn model(preemptions: usize, test: impl Fn() + Clone + Send + Sync + 'static) {
    for tagged in [true, false] {
        TAGGED.set(tagged);
        crate::model(preemptions, test.clone());
    }
}

fn request(key: &StoreKey, data: &'static str, expected: Expected) -> WriteRequest {
    let mut tags = Tags::new();
    if TAGGED.get() {
        tags.insert(&Tag::new("user").unwrap()).unwrap();
    }
    WriteRequest::new(key, data, HOUR, expected).tags(tags)
}

/// Checks that each tombstone has one valid entry in the queue, and that the counters and the tag index are exact.
fn check(table: &Table, keys: &[StoreKey]) {
    let queued = std::iter::from_fn(|| table.tombstone_queue.pop(Timestamp::MAX));
    let queued: Vec<(Timestamp, StoreKey)> = queued.collect();
    let (mut live, mut bytes, mut tombstones) = (Vec::new(), 0, 0);
    for slot in table.slots.partitions().iter().flat_map(|it| it.iter()) {
        match slot.value() {
            TableSlot::Live(record) => {
                live.push(*slot.key());
                bytes += record.weight().bytes;
            }
            TableSlot::Tombstone { queued: end, .. } => {
                let entry = (*end, *slot.key());
                let entries = queued.iter().filter(|it| **it == entry).count();
                assert_eq!(entries, 1, "the tombstone has one entry");
                tombstones += 1;
            }
        }
    }
    let stats = table.counters.stats();
    assert_eq!(stats.records, live.len() as u64);
    assert_eq!(stats.tombstones, tombstones);
    assert_eq!(stats.bytes, bytes);
    let indexed = table.tag_index.keys("user");
    for key in keys {
        let is_indexed = indexed.iter().any(|part| part.contains(key));
        assert_eq!(
            is_indexed,
            TAGGED.get() && live.contains(key),
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

/// Destroys a session while another thread writes to it. The store has room for one tombstone, which another
/// session has at first. If `is_stored`, the session has a record before.
///
/// Checks that some schedules apply the write and others refuse it, and that the session is dead after all of them.
fn race_with_destroy(is_stored: bool, expected: fn(Version) -> Expected) {
    let (applied, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (Arc::clone(&applied), Arc::clone(&refused));
    model(3, move || {
        let (table, _) = table_with(10, 1);
        table.destroy(&key(2));
        let mut version = Version::FIRST;
        if is_stored {
            let written = table.write(request(&key(1), "a", Expected::Absent));
            let WriteOutcome::Done(stored) = written else {
                panic!("the key is new");
            };
            version = stored;
        }
        let other = Arc::clone(&table);
        let destroyer = thread::spawn(move || other.destroy(&key(1)));
        let written = table.write(request(&key(1), "b", expected(version)));
        let _ = table.read_and_touch(&key(1), HOUR);
        destroyer.join().unwrap();
        let count = match written {
            WriteOutcome::Done(_) => &counts.0,
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => &counts.1,
        };
        count.fetch_add(1, Relaxed);
        assert!(matches!(table.read(&key(1)), ReadOutcome::Gone));
        assert!(matches!(table.read(&key(2)), ReadOutcome::Absent));
        check(&table, &[key(1), key(2)]);
    });
    assert!(applied.load(Relaxed) > 0 && refused.load(Relaxed) > 0);
}

#[test]
fn a_write_over_the_version_it_read_does_not_revive_a_destroyed_session() {
    race_with_destroy(true, Expected::Version);
}

#[test]
fn a_write_over_any_version_does_not_revive_a_destroyed_session() {
    race_with_destroy(true, |_| Expected::Any);
}

#[test]
fn a_first_write_does_not_revive_a_destroyed_session() {
    race_with_destroy(false, |_| Expected::Absent);
}

#[test]
fn two_destroys_at_once_keep_the_limit_of_tombstones() {
    model(3, || {
        let (table, _) = table_with(10, 1);
        table.write(request(&key(1), "a", Expected::Absent));
        let other = Arc::clone(&table);
        let destroyer = thread::spawn(move || other.destroy(&key(1)));
        table.destroy(&key(2));
        destroyer.join().unwrap();
        assert_eq!(table.counters.tombstones(), 1);
        assert_eq!(table.counters.stats().tombstones_evicted, 1);
        check(&table, &[key(1), key(2)]);
    });
}

#[test]
fn a_sweep_keeps_a_record_that_is_written_at_the_same_time() {
    model(2, || {
        let (table, clock) = table(10);
        table.write(request(&key(1), "a", Expected::Absent));
        clock.advance(HOUR);
        let other = Arc::clone(&table);
        let sweeper = thread::spawn(move || other.sweep_all());
        table.write(request(&key(1), "b", Expected::Any));
        table.sweep_partition(0);
        sweeper.join().unwrap();
        assert!(matches!(table.read(&key(1)), ReadOutcome::Found(_)));
        check(&table, &[key(1)]);
    });
}

#[test]
fn a_sweep_and_a_second_destroy_leave_one_entry_of_a_tombstone() {
    model(3, || {
        let (table, clock) = table(10);
        table.destroy(&key(1));
        clock.advance(HOUR);
        let other = Arc::clone(&table);
        let sweeper = thread::spawn(move || {
            other.sweep_tombstones(2);
            other.sweep_partition(0);
        });
        table.destroy(&key(1));
        table.sweep_tombstones(2);
        sweeper.join().unwrap();
        assert!(matches!(table.read(&key(1)), ReadOutcome::Gone));
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
fn two_evictions_at_once_keep_the_limit() {
    model(2, || {
        let (table, _) = table(1);
        table.write(request(&key(1), "a", Expected::Absent));
        let other = Arc::clone(&table);
        let writer = thread::spawn(move || other.write(request(&key(2), "b", Expected::Absent)));
        table.write(request(&key(3), "c", Expected::Absent));
        writer.join().unwrap();
        assert_eq!(table.counters.records(), 1);
        assert_eq!(table.counters.stats().evicted, 2);
        check(&table, &[key(1), key(2), key(3)]);
    });
}

/// The overwrite may find the store above its limit.
#[test]
fn an_insert_beside_an_overwrite_of_a_full_store_evicts_one_record() {
    model(2, || {
        let (table, _) = table(2);
        table.write(request(&key(1), "a", Expected::Absent));
        let written = table.write(request(&key(2), "b", Expected::Absent));
        let WriteOutcome::Done(version) = written else {
            panic!("the key is new");
        };
        let other = Arc::clone(&table);
        let writer = thread::spawn(move || other.write(request(&key(3), "c", Expected::Absent)));
        // Writes nothing if the record is already evicted.
        table.write(request(&key(2), "d", Expected::Version(version)));
        writer.join().unwrap();
        let stats = table.counters.stats();
        assert_eq!((stats.records, stats.evicted), (2, 1));
        check(&table, &[key(1), key(2), key(3)]);
    });
}
