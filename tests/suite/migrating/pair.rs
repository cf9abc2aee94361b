//! Migration between two stores. No visitor is logged out and no write is lost, even if a migration
//! stops half way or a machine knows only the old store.

use std::time::Duration;

use bytes::Bytes;
use hyper_session::{
    Sessions,
    clock::{Clock, Timestamp},
    document::Number,
    id::{SessionId, StoreKey},
    store::{
        Expected, Expiry, MemoryStore, MigratingStore, ReadOutcome, Record, Store, Tag, TagStore,
        Tags, WriteOutcome, WriteRequest,
    },
};

use crate::support::{Browser, Call, GateStore, config};

const HOUR: Duration = Duration::from_secs(3600);

/// An old store, a new store, and the migrating stores over both.
struct Migration {
    clock: Clock,
    old: GateStore,
    new: GateStore,
    migrating: MigratingStore,
    prepared: MigratingStore,
}

fn stores() -> Migration {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let gate = || GateStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let (old, new) = (gate(), gate());
    Migration {
        migrating: MigratingStore::new(old.clone(), new.clone()),
        prepared: MigratingStore::prepare(old.clone(), new.clone()),
        clock,
        old,
        new,
    }
}

fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

/// Returns a write with a time to live of an hour.
fn request(key: &StoreKey, data: impl Into<Bytes>, expected: Expected) -> WriteRequest {
    WriteRequest::new(key, data, HOUR, expected)
}

fn tags(tag: &Tag) -> Tags {
    let mut tags = Tags::new();
    tags.insert(tag).unwrap();
    tags
}

/// Creates a session in the old store, without the migrating store.
async fn create_in_old(stores: &Migration, data: &'static str) -> StoreKey {
    let key = key();
    let written = stores.old.write(request(&key, data, Expected::Absent));
    assert!(matches!(written.await, Ok(WriteOutcome::Done(_))));
    stores.old.calls();
    key
}

async fn record(store: &impl Store, key: &StoreKey) -> Record {
    match store.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => record,
        other => panic!("no record: {other:?}"),
    }
}

async fn data(store: &impl Store, key: &StoreKey) -> Bytes {
    record(store, key).await.data
}

async fn version(store: &impl Store, key: &StoreKey) -> Expected {
    Expected::Version(record(store, key).await.version)
}

#[tokio::test]
async fn a_session_is_read_where_it_is_and_moves_with_its_next_write() {
    let stores = stores();
    let key = create_in_old(&stores, "a").await;
    assert_eq!(data(&stores.migrating, &key).await, "a");
    assert_eq!(
        stores.new.read(&key, None).await.unwrap(),
        ReadOutcome::Absent
    );

    let expected = version(&stores.migrating, &key).await;
    let written = stores.migrating.write(request(&key, "b", expected)).await;
    assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    assert_eq!(
        data(&stores.new, &key).await,
        "b",
        "the new store alone will do"
    );

    stores.clock.advance(Duration::from_secs(61));
    let left = stores.old.read(&key, None).await.unwrap();
    assert_eq!(left, ReadOutcome::Absent, "nothing is left after a minute");
    assert_eq!(data(&stores.migrating, &key).await, "b");
}

#[tokio::test]
async fn a_renewal_takes_along_what_is_only_ever_read() {
    for by_read in [true, false] {
        let stores = stores();
        let key = create_in_old(&stores, "a").await;
        if by_read {
            let read = stores.migrating.read(&key, Some(HOUR * 2)).await.unwrap();
            assert!(matches!(read, ReadOutcome::Found(record) if record.data == "a"));
        } else {
            assert!(stores.migrating.touch(&key, HOUR * 2).await.unwrap());
        }
        stores.clock.advance(HOUR + HOUR / 2);
        assert_eq!(data(&stores.new, &key).await, "a");
    }
}

#[tokio::test]
async fn a_new_session_begins_in_the_new_store_and_a_prepared_machine_finds_it() {
    let stores = stores();
    let key = key();
    let written = stores.migrating.write(request(&key, "a", Expected::Absent));
    assert!(matches!(written.await, Ok(WriteOutcome::Done(_))));
    assert_eq!(data(&stores.new, &key).await, "a");
    assert_eq!(data(&stores.prepared, &key).await, "a");
    let expected = version(&stores.prepared, &key).await;
    let written = stores.prepared.write(request(&key, "b", expected)).await;
    assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    assert_eq!(data(&stores.new, &key).await, "b");
}

#[tokio::test]
async fn a_prepared_machine_leaves_sessions_to_those_who_know_the_old_store_alone() {
    let stores = stores();
    let (old, fresh) = (create_in_old(&stores, "a").await, key());
    let written = stores
        .prepared
        .write(request(&fresh, "a", Expected::Absent));
    assert!(matches!(written.await, Ok(WriteOutcome::Done(_))));
    for key in [old, fresh] {
        let expected = version(&stores.prepared, &key).await;
        let written = stores.prepared.write(request(&key, "b", expected)).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
        assert!(stores.prepared.touch(&key, HOUR).await.unwrap());
        assert_eq!(data(&stores.old, &key).await, "b");
        assert_eq!(
            stores.new.read(&key, None).await.unwrap(),
            ReadOutcome::Absent
        );
    }
}

/// Stops the migration before and after each of its calls to either store.
#[tokio::test]
async fn a_move_that_stops_anywhere_is_finished_by_the_next_request() {
    let steps = [(true, 0), (true, 1), (false, 0)];
    for ((in_old, nth), after) in steps.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let (stores, key, tag) = (stores(), key(), Tag::new("user").unwrap());
        let tagged = |data, expected| request(&key, data, expected).tags(tags(&tag));
        let written = stores.old.write(tagged("a", Expected::Absent));
        assert!(matches!(written.await, Ok(WriteOutcome::Done(_))));
        let expected = version(&stores.migrating, &key).await;
        let broken = if in_old { &stores.old } else { &stores.new };
        match after {
            true => broken.fail_answer_nth(Call::Write, nth),
            false => broken.fail_nth(Call::Write, nth),
        }
        let stopped = stores.migrating.write(tagged("b", expected)).await;
        let step = (in_old, nth, after);
        assert!(stopped.is_err(), "{step:?}: {stopped:?}");
        stores.old.clear_rules();
        stores.new.clear_rules();

        // The write is applied or not, and every machine reads the same.
        let expected_data = match step {
            (true, 0, false) => "a",
            _ => "b",
        };
        let listed = stores.migrating.tagged(&tag).await.unwrap();
        assert_eq!(listed, [key], "{step:?}");
        let read = record(&stores.migrating, &key).await;
        assert_eq!(
            (&*read.data, &read.tags),
            (expected_data.as_bytes(), &tags(&tag)),
            "{step:?}"
        );
        assert_eq!(data(&stores.prepared, &key).await, expected_data);
        assert_eq!(stores.migrating.tagged(&tag).await.unwrap(), [key]);
        let expected = version(&stores.migrating, &key).await;
        let written = stores.migrating.write(tagged("c", expected)).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
        assert_eq!(data(&stores.new, &key).await, "c");
        assert_eq!(stores.new.tagged(&tag).await.unwrap(), [key]);
        assert_eq!(stores.old.tagged(&tag).await.unwrap(), [], "{step:?}");
    }
}

/// The marker in the old store still has the tag, but the session has lost it.
#[tokio::test]
async fn a_stopped_migration_does_not_list_its_session() {
    let (stores, key, tag) = (stores(), key(), Tag::new("user").unwrap());
    let written = stores
        .old
        .write(request(&key, "a", Expected::Absent).tags(tags(&tag)));
    assert!(matches!(written.await, Ok(WriteOutcome::Done(_))));
    let expected = version(&stores.migrating, &key).await;
    stores.old.fail_nth(Call::Write, 1);
    let moving = stores
        .migrating
        .write(request(&key, "b", expected).tags(tags(&tag)));
    assert!(moving.await.is_err());
    let expected = version(&stores.migrating, &key).await;
    let untagged = stores.migrating.write(request(&key, "c", expected)).await;
    assert!(
        matches!(untagged, Ok(WriteOutcome::Done(_))),
        "{untagged:?}"
    );
    for store in [&stores.migrating, &stores.prepared] {
        assert_eq!(store.tagged(&tag).await.unwrap(), []);
        assert_eq!(data(store, &key).await, "c");
    }
}

/// The write does not know the remaining time to live of a session in the old store.
#[tokio::test]
async fn a_write_that_keeps_the_expiry_moves_nothing_and_prolongs_nothing() {
    for expects_version in [true, false] {
        let stores = stores();
        let key = create_in_old(&stores, "a").await;
        stores.clock.advance(HOUR / 2);
        let stale = version(&stores.migrating, &key).await;
        let expected = if expects_version {
            stale
        } else {
            Expected::Any
        };
        let keeping = |expected| WriteRequest::new(&key, "b", Expiry::Keep, expected);
        let written = stores.migrating.write(keeping(expected)).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
        assert_eq!(data(&stores.old, &key).await, "b");
        let conflict = WriteOutcome::Conflict(record(&stores.migrating, &key).await);
        for expected in [stale, Expected::Absent] {
            let refused = stores.migrating.write(keeping(expected)).await;
            assert_eq!(refused.unwrap(), conflict);
        }

        stores.clock.advance(HOUR / 2);
        for expected in [expected, Expected::Any, Expected::Absent] {
            let gone = stores.migrating.write(keeping(expected)).await;
            assert_eq!(gone.unwrap(), WriteOutcome::Gone);
        }
        let read = stores.migrating.read(&key, None).await.unwrap();
        assert_eq!(read, ReadOutcome::Absent);
    }
}

/// A session is regenerated after a migration whose last step failed.
#[tokio::test]
async fn a_stopped_migration_does_not_revive_an_ended_session() {
    let stores = stores();
    let key = create_in_old(&stores, "a").await;
    let expected = version(&stores.migrating, &key).await;
    stores.old.fail_nth(Call::Write, 1);
    let stopped = stores.migrating.write(request(&key, "b", expected)).await;
    assert!(stopped.is_err(), "{stopped:?}");
    let (minute, expected) = (HOUR / 60, version(&stores.migrating, &key).await);
    let fenced = stores
        .migrating
        .write(WriteRequest::new(&key, "moved", minute, expected));
    assert!(matches!(fenced.await, Ok(WriteOutcome::Done(_))));
    stores.clock.advance(minute);
    assert_eq!(
        stores.migrating.read(&key, None).await.unwrap(),
        ReadOutcome::Absent
    );
}

#[tokio::test]
async fn a_destroy_that_stops_half_way_is_finished_by_the_next_read() {
    let stores = stores();
    let key = create_in_old(&stores, "a").await;
    stores.old.fail(Call::Destroy);
    assert!(stores.migrating.destroy(&key).await.is_err());
    assert_eq!(
        stores.migrating.read(&key, None).await.unwrap(),
        ReadOutcome::Gone
    );
    assert_eq!(
        stores.old.read(&key, None).await.unwrap(),
        ReadOutcome::Gone
    );
    stores.clock.advance(Duration::from_secs(61));
    assert_eq!(
        stores.migrating.read(&key, None).await.unwrap(),
        ReadOutcome::Absent
    );
}

#[tokio::test]
async fn a_session_destroyed_while_it_moves_stays_so() {
    for (in_old, nth) in [(true, 0), (true, 1), (false, 0)] {
        let stores = stores();
        let key = create_in_old(&stores, "a").await;
        let expected = version(&stores.migrating, &key).await;
        let paused = if in_old { &stores.old } else { &stores.new };
        let gate = paused.hold_nth(Call::Write, nth);
        let migrating = stores.migrating.clone();
        let writing =
            tokio::spawn(async move { migrating.write(request(&key, "b", expected)).await });
        gate.reached().await;
        stores.migrating.destroy(&key).await.unwrap();
        gate.open();
        writing.await.unwrap().unwrap();
        for seconds in [0, 61] {
            stores.clock.advance(Duration::from_secs(seconds));
            for store in [&stores.migrating, &stores.prepared] {
                let read = store.read(&key, None).await.unwrap();
                assert!(
                    !matches!(read, ReadOutcome::Found(_)),
                    "{read:?} after {in_old} {nth}"
                );
            }
        }
    }
}

/// A machine that read before the migration writes after it. Its write conflicts with the new record.
#[tokio::test]
async fn a_write_on_what_has_moved_meanwhile_conflicts_with_the_new_record() {
    let stores = stores();
    for slow in [&stores.migrating, &stores.prepared] {
        let key = create_in_old(&stores, "a").await;
        let stale = version(slow, &key).await;
        let current = version(&stores.migrating, &key).await;
        let written = stores.migrating.write(request(&key, "b", current)).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))));
        let refused = slow.write(request(&key, "lost?", stale)).await.unwrap();
        let current = record(&stores.migrating, &key).await;
        assert_eq!(refused, WriteOutcome::Conflict(current));
    }
}

#[tokio::test]
async fn those_who_begin_a_session_in_the_old_store_do_not_keep_each_other_from_it() {
    let yielding = || GateStore::yielding(MemoryStore::new());
    let (prepared, key) = (MigratingStore::prepare(yielding(), yielding()), key());
    let begin = |_| tokio::spawn(prepared.write(request(&key, "{}", Expected::Absent)));
    let begun = [0; 4].map(begin);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let mut done = 0;
    for begun in begun {
        assert!(begun.is_finished(), "all creations finish");
        done += usize::from(matches!(begun.await.unwrap(), Ok(WriteOutcome::Done(_))));
    }
    assert_eq!(done, 1);
}

/// The sum must include every acknowledged write of both machines.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_machines_count_on_one_session_and_nothing_is_lost() {
    for prepared in [false, true] {
        let yielding = || GateStore::yielding(MemoryStore::new());
        let (old, new) = (yielding(), yielding());
        for _ in 0..20 {
            let key = key();
            let begun = old.write(request(&key, "0", Expected::Absent));
            assert!(matches!(begun.await, Ok(WriteOutcome::Done(_))));
            let mover = MigratingStore::new(old.clone(), new.clone());
            let by_mover = tokio::spawn(count(mover.clone(), key));
            let other = match prepared {
                true => tokio::spawn(count(
                    MigratingStore::prepare(old.clone(), new.clone()),
                    key,
                )),
                false => tokio::spawn(count(old.clone(), key)),
            };
            let (by_mover, by_other) = (by_mover.await.unwrap(), other.await.unwrap());
            let sum = number(&data(&mover, &key).await);
            assert_eq!(sum, Some(by_mover + by_other));
            assert_eq!(by_mover, COUNT);
            assert!(!prepared || by_other == COUNT, "{by_other}");
        }
    }
}

const COUNT: usize = 20;

fn number(data: &[u8]) -> Option<usize> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

/// Increments the session until it is no longer available. Returns the number of acknowledged writes.
async fn count(store: impl Store, key: StoreKey) -> usize {
    let mut done = 0;
    while done < COUNT {
        let ReadOutcome::Found(record) = store.read(&key, None).await.unwrap() else {
            break;
        };
        // A migrating marker is not a session for a machine that knows only the old store.
        let Some(next) = number(&record.data) else {
            break;
        };
        let (next, expected) = ((next + 1).to_string(), Expected::Version(record.version));
        match store.write(request(&key, next, expected)).await.unwrap() {
            WriteOutcome::Done(_) => done += 1,
            WriteOutcome::Conflict(_) => {}
            WriteOutcome::Gone => break,
        }
    }
    done
}

#[tokio::test]
async fn visitors_keep_their_session_from_the_first_store_to_the_last() {
    let stores = stores();
    let steps = [
        Sessions::new(config(), stores.old.clone()).unwrap(),
        Sessions::new(config(), stores.prepared.clone()).unwrap(),
        Sessions::new(config(), stores.migrating.clone()).unwrap(),
        Sessions::new(config(), stores.new.clone()).unwrap(),
    ];
    let (mut ada, mut grace) = (Browser::new(&steps[0]), Browser::new(&steps[0]));
    for (sessions, visits) in steps.iter().zip(1..) {
        ada = ada.with_sessions(sessions);
        grace = grace.with_sessions(sessions);
        let seen = ada.visit(async |session| session.increment("visits").unwrap());
        assert_eq!(seen.await, Number::Int(visits));
        // The id changes at every step too, and the tag still finds the user.
        grace
            .visit(async |session| {
                session.increment("visits").unwrap();
                session.tag("grace").unwrap();
                session.regenerate().unwrap();
            })
            .await;
        let found = sessions.collection().tagged("grace").await.unwrap();
        assert_eq!(found.len(), 1);
    }
    let visits: Option<i64> = grace
        .visit(async |session| session.get("visits").unwrap())
        .await;
    assert_eq!(visits, Some(4));
    let ended = steps[2].collection().destroy_tagged("grace", None).await;
    assert_eq!(ended.unwrap(), 1);
    assert!(
        grace
            .visit(async |session| !session.has("visits").unwrap())
            .await
    );
}

#[tokio::test]
async fn both_stores_must_give_what_is_promised() {
    let short = MemoryStore::builder().tombstone_ttl(Duration::ZERO).build();
    let both = MigratingStore::new(short, MemoryStore::new()).capabilities();
    assert!(both.conditional_writes && !both.tombstones && !both.persistent && !both.shared);
    assert_eq!(stores().migrating.count().await.unwrap(), None);
    assert!(stores().migrating.tags().is_some());
}

#[tokio::test]
async fn an_unfinished_migration_does_not_bring_back_a_session_that_was_shortened() {
    let stores = stores();
    let key = create_in_old(&stores, "first").await;
    let expected = version(&stores.migrating, &key).await;
    // The machine stops after it has created the session in the new store.
    stores.old.fail_nth(Call::Write, 1);
    let stopped = stores.migrating.write(request(&key, "second", expected));
    assert!(stopped.await.is_err());
    let expected = version(&stores.migrating, &key).await;
    let shorter = WriteRequest::new(&key, "third", HOUR / 2, expected);
    let written = stores.migrating.write(shorter).await;
    assert!(matches!(written, Ok(WriteOutcome::Done(_))));
    stores.clock.advance(HOUR / 2 + Duration::from_secs(1));
    let read = stores.migrating.read(&key, None).await.unwrap();
    assert_eq!(read, ReadOutcome::Absent);
}
