//! Random operations, with the store closed and opened in between, give the same result as a plain
//! map.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    store::{
        Expected, FileStore, ReadOutcome, Store, Tag, TagStore, WriteOutcome, file::Durability,
    },
};
use proptest::{collection::vec, prelude::*};

use crate::support::scratch::{Scratch, key};

const TOMBSTONE: u64 = 30;

#[derive(Clone, Debug)]
enum Operation {
    Write { key: u64, len: usize, life: u64 },
    WriteStale { key: u64 },
    Read { key: u64, touch: Option<u64> },
    Touch { key: u64, life: u64 },
    Destroy { key: u64 },
    Tag { key: u64, tag: u8 },
    Untag { key: u64, tag: u8 },
    CopyTags { from: u64, to: u64 },
    Tagged { tag: u8 },
    AdvanceTime { seconds: u64 },
    Reopen { close: bool },
    Compact,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = || 0..6_u64;
    let tag = || 0..3_u8;
    prop_oneof![
        6 => (key(), 0..3000_usize, 1..100_u64)
            .prop_map(|(key, len, life)| Operation::Write { key, len, life }),
        1 => key().prop_map(|key| Operation::WriteStale { key }),
        4 => (key(), proptest::option::of(1..100_u64))
            .prop_map(|(key, touch)| Operation::Read { key, touch }),
        2 => (key(), 1..100_u64).prop_map(|(key, life)| Operation::Touch { key, life }),
        2 => key().prop_map(|key| Operation::Destroy { key }),
        3 => (key(), tag()).prop_map(|(key, tag)| Operation::Tag { key, tag }),
        1 => (key(), tag()).prop_map(|(key, tag)| Operation::Untag { key, tag }),
        1 => (key(), key()).prop_map(|(from, to)| Operation::CopyTags { from, to }),
        2 => tag().prop_map(|tag| Operation::Tagged { tag }),
        2 => (0..20_u64).prop_map(|seconds| Operation::AdvanceTime { seconds }),
        2 => any::<bool>().prop_map(|close| Operation::Reopen { close }),
        1 => Just(Operation::Compact),
    ]
}

#[derive(Clone, Default)]
struct ModelSession {
    /// The data and its version; `None` for a tombstone.
    record: Option<(Bytes, u64)>,
    expires: u64,
    tags: BTreeSet<u8>,
}

struct Model {
    sessions: BTreeMap<u64, ModelSession>,
    clock: Clock,
    newest: u64,
}

impl Model {
    fn now(&self) -> u64 {
        self.clock.now().as_millis() / 1000
    }

    fn get(&mut self, key: u64) -> Option<&mut ModelSession> {
        let now = self.now();
        self.sessions
            .get_mut(&key)
            .filter(|session| session.expires > now)
    }

    fn live(&mut self, key: u64) -> Option<&mut ModelSession> {
        self.get(key).filter(|session| session.record.is_some())
    }
}

fn open(directory: &Path, clock: &Clock) -> FileStore {
    FileStore::builder(directory)
        .segment_bytes(16 << 10)
        .durability(Durability::Os)
        .tombstone_ttl(Duration::from_secs(TOMBSTONE))
        .clock(clock.clone())
        .open()
        .unwrap()
}

fn tag_named(tag: u8) -> Tag {
    Tag::new(format!("user-{tag}")).unwrap()
}

async fn step(store: &FileStore, model: &mut Model, operation: &Operation) {
    let now = model.now();
    match *operation {
        Operation::Write {
            key: number,
            len,
            life,
        } => {
            write(store, model, number, len, life).await;
        }
        Operation::WriteStale { key: number } => write_stale(store, model, number).await,
        Operation::Read { key: number, touch } => {
            let touch = touch.map(Duration::from_secs);
            let read = store.read(&key(number), touch).await.unwrap();
            match (read, model.get(number)) {
                (ReadOutcome::Absent, None) => {}
                (ReadOutcome::Gone, Some(session)) => assert!(session.record.is_none()),
                (ReadOutcome::Found(found), Some(session)) => {
                    let found = (found.data, found.version.get());
                    assert_eq!(Some(&found), session.record.as_ref());
                    if let Some(life) = touch {
                        session.expires = now + life.as_secs();
                    }
                }
                (read, _) => panic!("{number} is {read:?}"),
            }
        }
        Operation::Touch { key: number, life } => {
            let touched = store
                .touch(&key(number), Duration::from_secs(life))
                .await
                .unwrap();
            let live = model.live(number);
            assert_eq!(touched, live.is_some());
            if let Some(session) = live {
                session.expires = now + life;
            }
        }
        Operation::Destroy { key: number } => {
            store.destroy(&key(number)).await.unwrap();
            let expires = now + TOMBSTONE;
            let tombstone = ModelSession {
                expires,
                ..ModelSession::default()
            };
            model.sessions.insert(number, tombstone);
        }
        Operation::AdvanceTime { seconds } => model.clock.advance(Duration::from_secs(seconds)),
        Operation::Compact => store.compact().await.unwrap(),
        Operation::Reopen { .. } => {}
        ref tags => step_tags(store, model, tags).await,
    }
}

async fn write(store: &FileStore, model: &mut Model, number: u64, len: usize, life: u64) {
    let expected = match model
        .live(number)
        .and_then(|session| session.record.clone())
    {
        Some((_, version)) => {
            Expected::Version(hyper_session::store::Version::new(version).unwrap())
        }
        None => Expected::Absent,
    };
    let data = Bytes::from(vec![len as u8; len]);
    let life = Duration::from_secs(life);
    let written = store
        .write(&key(number), data.clone(), life, expected)
        .await
        .unwrap();
    let tombstone = model
        .get(number)
        .is_some_and(|session| session.record.is_none());
    let WriteOutcome::Done(version) = written else {
        assert!(
            tombstone && written == WriteOutcome::Gone,
            "{number}: {written:?}"
        );
        return;
    };
    assert!(!tombstone && version.get() > model.newest, "versions go up");
    model.newest = version.get();
    let tags = model
        .live(number)
        .map(|session| session.tags.clone())
        .unwrap_or_default();
    let session = ModelSession {
        record: Some((data, version.get())),
        expires: model.now() + life.as_secs(),
        tags,
    };
    model.sessions.insert(number, session);
}

async fn write_stale(store: &FileStore, model: &mut Model, number: u64) {
    let stale = Expected::Version(hyper_session::store::Version::new(1).unwrap());
    let life = Duration::from_secs(9);
    let written = store
        .write(&key(number), Bytes::new(), life, stale)
        .await
        .unwrap();
    match model
        .live(number)
        .and_then(|session| session.record.clone())
    {
        Some((data, version)) => {
            let WriteOutcome::Conflict(record) = written else {
                panic!("{number}: {written:?}");
            };
            assert_eq!((record.data, record.version.get()), (data, version));
        }
        None => assert_eq!(written, WriteOutcome::Gone),
    }
}

async fn step_tags(store: &FileStore, model: &mut Model, operation: &Operation) {
    match *operation {
        Operation::Tag { key: number, tag } => {
            let tagged = store.tag(&key(number), &tag_named(tag)).await.unwrap();
            let live = model.live(number);
            assert_eq!(tagged, live.is_some());
            if let Some(session) = live {
                session.tags.insert(tag);
            }
        }
        Operation::Untag { key: number, tag } => {
            store.untag(&key(number), &tag_named(tag)).await.unwrap();
            if let Some(session) = model.live(number) {
                session.tags.remove(&tag);
            }
        }
        Operation::CopyTags { from, to } => {
            store.copy_tags(&key(from), &key(to)).await.unwrap();
            let tags = model.live(from).map(|session| session.tags.clone());
            if let (Some(tags), Some(session)) = (tags, model.live(to)) {
                session.tags.extend(tags);
            }
        }
        Operation::Tagged { tag } => {
            let mut found = store.tagged(&tag_named(tag)).await.unwrap();
            found.sort();
            let mut expected: Vec<_> = (0..6)
                .filter(|number| model.live(*number).is_some_and(|s| s.tags.contains(&tag)))
                .map(key)
                .collect();
            expected.sort();
            assert_eq!(found, expected);
        }
        _ => {}
    }
}

async fn run(operations: &[Operation]) {
    let scratch = Scratch::new();
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let mut model = Model {
        sessions: BTreeMap::new(),
        clock: clock.clone(),
        newest: 0,
    };
    let mut store = open(scratch.path(), &clock);
    for operation in operations {
        step(&store, &mut model, operation).await;
        if let Operation::Reopen { close } = operation {
            if *close {
                store.close().await.unwrap();
            }
            drop(store);
            store = open(scratch.path(), &clock);
        }
    }
    for number in 0..6 {
        step(
            &store,
            &mut model,
            &Operation::Read {
                key: number,
                touch: None,
            },
        )
        .await;
    }
    for tag in 0..3 {
        step(&store, &mut model, &Operation::Tagged { tag }).await;
    }
    // Entries that expired just before an opening may not be collected yet.
    store.compact().await.unwrap();
    let stats = store.stats();
    assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
    assert_eq!(
        stats.damaged + stats.torn_bytes,
        0,
        "normal use causes no damage"
    );
}

#[tokio::test]
async fn versions_go_up_after_the_newest_record_was_compacted_away() {
    let write = Operation::Write {
        key: 0,
        len: 0,
        life: 1,
    };
    for close in [false, true] {
        run(&[
            write.clone(),
            Operation::AdvanceTime { seconds: 1 },
            Operation::Compact,
            Operation::Reopen { close },
            write.clone(),
        ])
        .await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn random_operations_give_the_same_result_as_a_plain_map(
        operations in vec(operation(), 1..120)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&operations));
    }
}
