//! Random operations, with the store closed and opened in between, give the same result as a plain
//! map.

use std::{collections::BTreeMap, path::Path, time::Duration};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    seal::{KeyRing, SealKey},
    store::{
        Expected, Expiry, FileStore, ReadOutcome, Record, Store, Tag, TagStore, Tags, Version,
        WriteOutcome, WriteRequest, file::Durability,
    },
};
use proptest::{collection::vec, option, prelude::*};

use crate::support::scratch::{Scratch, key};

const TOMBSTONE: u64 = 30;

#[derive(Clone, Debug)]
enum Operation {
    Write(Write),
    WriteStale { key: u64 },
    Read { key: u64, touch: Option<u64> },
    Touch { key: u64, life: u64 },
    Destroy { key: u64 },
    Tagged { tag: u8 },
    AdvanceTime { seconds: u64 },
    Reopen { close: bool },
    Compact,
}

#[derive(Clone, Debug)]
struct Write {
    key: u64,
    len: usize,
    /// The seconds until the expiry; `None` keeps the expiry.
    life: Option<u64>,
    tags: Vec<u8>,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = || 0..6_u64;
    let tag = || 0..3_u8;
    prop_oneof![
        8 => (key(), 0..3000_usize, option::of(1..100_u64), vec(tag(), 0..3))
            .prop_map(|(key, len, life, tags)| Operation::Write(Write { key, len, life, tags })),
        1 => key().prop_map(|key| Operation::WriteStale { key }),
        4 => (key(), option::of(1..100_u64))
            .prop_map(|(key, touch)| Operation::Read { key, touch }),
        2 => (key(), 1..100_u64).prop_map(|(key, life)| Operation::Touch { key, life }),
        2 => key().prop_map(|key| Operation::Destroy { key }),
        3 => tag().prop_map(|tag| Operation::Tagged { tag }),
        2 => (0..20_u64).prop_map(|seconds| Operation::AdvanceTime { seconds }),
        2 => any::<bool>().prop_map(|close| Operation::Reopen { close }),
        1 => Just(Operation::Compact),
    ]
}

#[derive(Clone, Default)]
struct ModelSession {
    /// `None` for a tombstone.
    record: Option<Record>,
    expires: u64,
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

fn open(directory: &Path, clock: &Clock, encrypted: bool) -> FileStore {
    let mut builder = FileStore::builder(directory);
    if encrypted {
        let key = SealKey::from_text("a long and random secret, number one").unwrap();
        builder = builder.encrypt_with(&KeyRing::new(key));
    }
    builder
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
        Operation::Write(ref write) => run_write(store, model, write).await,
        Operation::WriteStale { key: number } => write_stale(store, model, number).await,
        Operation::Read { key: number, touch } => {
            let touch = touch.map(Duration::from_secs);
            let read = store.read(&key(number), touch).await.unwrap();
            match (read, model.get(number)) {
                (ReadOutcome::Absent, None) => {}
                (ReadOutcome::Gone, Some(session)) => assert!(session.record.is_none()),
                (ReadOutcome::Found(found), Some(session)) => {
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
        Operation::Tagged { tag } => check_tagged(store, model, tag).await,
    }
}

async fn run_write(store: &FileStore, model: &mut Model, write: &Write) {
    let number = write.key;
    let before = model.get(number).cloned();
    let tombstone = before
        .as_ref()
        .is_some_and(|session| session.record.is_none());
    let current = before.as_ref().and_then(|session| session.record.clone());
    let data = Bytes::from(vec![write.len as u8; write.len]);
    let mut tags = Tags::new();
    for tag in &write.tags {
        tags.insert(&tag_named(*tag)).unwrap();
    }
    let expected = current.map_or(Expected::Absent, |record| Expected::Version(record.version));
    let (expiry, expires) = match write.life {
        Some(life) => (
            Expiry::After(Duration::from_secs(life)),
            Some(model.now() + life),
        ),
        None => (Expiry::Keep, before.map(|session| session.expires)),
    };
    let request = WriteRequest::new(&key(number), data.clone(), expiry, expected);
    let written = store.write(request.tags(tags.clone())).await.unwrap();
    let (WriteOutcome::Done(version), Some(expires), false) = (&written, expires, tombstone) else {
        assert!(
            (tombstone || expires.is_none()) && written == WriteOutcome::Gone,
            "{number}: {written:?}"
        );
        return;
    };
    assert!(version.get() > model.newest, "versions go up");
    model.newest = version.get();
    let record = Some(Record::new(data, *version).tags(tags));
    model
        .sessions
        .insert(number, ModelSession { record, expires });
}

async fn write_stale(store: &FileStore, model: &mut Model, number: u64) {
    let stale = Expected::Version(Version::FIRST);
    let request = WriteRequest::new(&key(number), Bytes::new(), Duration::from_secs(9), stale);
    let written = store.write(request).await.unwrap();
    let current = model
        .live(number)
        .and_then(|session| session.record.clone());
    assert_eq!(
        written,
        current.map_or(WriteOutcome::Gone, WriteOutcome::Conflict)
    );
}

async fn check_tagged(store: &FileStore, model: &mut Model, tag: u8) {
    let tag = tag_named(tag);
    let mut found = store.tagged(&tag).await.unwrap();
    found.sort();
    let has_tag = |session: &ModelSession| {
        let record = session.record.as_ref();
        record.is_some_and(|record| record.tags.contains(tag.as_str()))
    };
    let mut expected: Vec<_> = (0..6)
        .filter(|number| model.get(*number).is_some_and(|session| has_tag(session)))
        .map(key)
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

async fn run(operations: &[Operation], encrypted: bool) {
    let scratch = Scratch::new();
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let mut model = Model {
        sessions: BTreeMap::new(),
        clock: clock.clone(),
        newest: 0,
    };
    let mut store = open(scratch.path(), &clock, encrypted);
    for operation in operations {
        step(&store, &mut model, operation).await;
        if let Operation::Reopen { close } = operation {
            if *close {
                store.close().await.unwrap();
            }
            drop(store);
            store = open(scratch.path(), &clock, encrypted);
        }
    }
    for key in 0..6 {
        let read = Operation::Read { key, touch: None };
        step(&store, &mut model, &read).await;
    }
    for tag in 0..3 {
        check_tagged(&store, &mut model, tag).await;
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
    let write = Operation::Write(Write {
        key: 0,
        len: 0,
        life: Some(1),
        tags: Vec::new(),
    });
    for close in [false, true] {
        run(
            &[
                write.clone(),
                Operation::AdvanceTime { seconds: 1 },
                Operation::Compact,
                Operation::Reopen { close },
                write.clone(),
            ],
            false,
        )
        .await;
    }
}

#[tokio::test]
async fn a_session_that_expired_before_an_opening_leaves_no_tags() {
    let write = |tags: &[u8]| {
        Operation::Write(Write {
            key: 0,
            len: 0,
            life: Some(1),
            tags: tags.to_vec(),
        })
    };
    for encrypted in [false, true] {
        let operations = [
            write(&[1]),
            Operation::AdvanceTime { seconds: 1 },
            Operation::Reopen { close: true },
            write(&[]),
        ];
        run(&operations, encrypted).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn random_operations_give_the_same_result_as_a_plain_map(
        operations in vec(operation(), 1..120), encrypted: bool
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&operations, encrypted));
    }
}
