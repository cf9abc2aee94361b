//! Random calls of the memory store return the same as a simple model.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper_session::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        Expected, Expiry, MemoryStore, ReadOutcome, Record, Store, StoreFuture, Tag, TagStore,
        Tags, Version, WriteOutcome, WriteRequest,
    },
};
use proptest::{collection::vec, prelude::*};

const TOMBSTONE: u64 = 50;

/// The expectation of a write, in terms of the model.
#[derive(Clone, Copy, Debug)]
enum ModelExpected {
    Absent,
    Any,
    /// The version of this key's last write, live or not.
    Last,
    /// A version of no record.
    Wrong,
}

/// Keys are small numbers, and so are tags: three bits of a mask. Times are milliseconds, or `None` to
/// keep the expiry.
#[derive(Clone, Debug)]
enum Call {
    Read(u8, Option<u64>),
    Write(u8, Vec<u8>, u8, Option<u64>, ModelExpected),
    Destroy(u8),
    Touch(u8, u64),
    Tagged(u8),
    Advance(u64),
    Sweep,
}

fn calls() -> impl Strategy<Value = Call> {
    let (key, time) = (|| 0..4u8, || prop_oneof![0..60u64, Just(u64::MAX)]);
    let expectation = prop_oneof![
        1 => Just(ModelExpected::Absent),
        1 => Just(ModelExpected::Any),
        3 => Just(ModelExpected::Last),
        1 => Just(ModelExpected::Wrong)
    ];
    prop_oneof![
        3 => (key(), proptest::option::of(time())).prop_map(|(key, ttl)| Call::Read(key, ttl)),
        8 => (key(), vec(any::<u8>(), 0..5), 0..8u8, proptest::option::of(time()), expectation)
            .prop_map(|(key, data, tags, ttl, expectation)| {
                Call::Write(key, data, tags, ttl, expectation)
            }),
        1 => key().prop_map(Call::Destroy),
        2 => (key(), time()).prop_map(|(key, ttl)| Call::Touch(key, ttl)),
        2 => (0..3u8).prop_map(Call::Tagged),
        3 => (1..40u64).prop_map(Call::Advance),
        1 => Just(Call::Sweep),
    ]
}

struct ModelRecord {
    record: Record,
    ends: u64,
}

/// The contract as a simple model.
#[derive(Default)]
struct Model {
    now: u64,
    live: HashMap<u8, ModelRecord>,
    tombstones: HashMap<u8, u64>,
    last: HashMap<u8, Version>,
    versions: HashSet<Version>,
}

impl Model {
    fn advance(&mut self, time: u64) {
        self.now += time;
        let now = self.now;
        self.live.retain(|_, record| now < record.ends);
        self.tombstones.retain(|_, end| now < *end);
    }

    fn read(&self, key: u8) -> ReadOutcome {
        match self.live.get(&key) {
            Some(entry) => ReadOutcome::Found(entry.record.clone()),
            None if self.tombstones.contains_key(&key) => ReadOutcome::Gone,
            None => ReadOutcome::Absent,
        }
    }

    fn touch(&mut self, key: u8, ttl: u64) -> bool {
        let (now, entry) = (self.now, self.live.get_mut(&key));
        let touched = entry
            .map(|entry| entry.ends = now.saturating_add(ttl))
            .is_some();
        self.advance(0);
        touched
    }

    /// Returns the outcome of a rejected write, or `None` if the write is applied.
    fn refusal(&self, key: u8, expected: Expected, ttl: Option<u64>) -> Option<WriteOutcome> {
        match (self.read(key), expected) {
            (ReadOutcome::Absent, _) if ttl.is_none() => Some(WriteOutcome::Gone),
            (ReadOutcome::Gone, _) | (ReadOutcome::Absent, Expected::Version(_)) => {
                Some(WriteOutcome::Gone)
            }
            (ReadOutcome::Absent, _) | (ReadOutcome::Found(_), Expected::Any) => None,
            (ReadOutcome::Found(record), Expected::Version(version))
                if version == record.version =>
            {
                None
            }
            (ReadOutcome::Found(record), _) => Some(WriteOutcome::Conflict(record)),
        }
    }

    fn write(&mut self, key: u8, record: Record, ttl: Option<u64>) {
        assert!(
            self.versions.insert(record.version),
            "a version is repeated"
        );
        self.last.insert(key, record.version);
        let ends = match ttl {
            Some(ttl) => self.now.saturating_add(ttl),
            None => self.live[&key].ends,
        };
        self.live.insert(key, ModelRecord { record, ends });
        self.advance(0);
    }

    fn tagged(&self, tag: u8) -> BTreeSet<StoreKey> {
        let name = tag.to_string();
        let has_tag = |entry: &ModelRecord| entry.record.tags.contains(&name);
        let tagged = self.live.iter().filter(|(_, entry)| has_tag(entry));
        tagged.map(|(number, _)| key(*number)).collect()
    }
}

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

fn tag(number: u8) -> Tag {
    Tag::new(number.to_string()).unwrap()
}

/// Returns the tags whose bits are set.
fn tags(mask: u8) -> Tags {
    let mut tags = Tags::new();
    for number in (0..3).filter(|bit| mask >> bit & 1 == 1) {
        tags.insert(&tag(number)).unwrap();
    }
    tags
}

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn ready<T: Unpin>(future: StoreFuture<T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => unreachable!("the memory store never suspends"),
    }
}

/// Makes one call of the store and of the model, and compares the results.
fn step(store: &MemoryStore, clock: &Clock, model: &mut Model, call: Call) {
    match call {
        Call::Read(at, touch) => {
            let expected = model.read(at);
            assert_eq!(ready(store.read(&key(at), touch.map(millis))), expected);
            touch.map(|ttl| model.touch(at, ttl));
        }
        Call::Write(at, data, mask, ttl, expectation) => {
            let wrong = Version::new(1 << 60).unwrap();
            let expected = match expectation {
                ModelExpected::Absent => Expected::Absent,
                ModelExpected::Any => Expected::Any,
                ModelExpected::Last => {
                    Expected::Version(model.last.get(&at).copied().unwrap_or(wrong))
                }
                ModelExpected::Wrong => Expected::Version(wrong),
            };
            let expiry = ttl.map_or(Expiry::Keep, |ttl| millis(ttl).into());
            let request = WriteRequest::new(&key(at), data, expiry, expected).tags(tags(mask));
            let refusal = model.refusal(at, expected, ttl);
            match ready(store.write(request.clone())) {
                WriteOutcome::Done(version) => {
                    assert_eq!(refusal, None);
                    let record = Record::new(request.data, version).tags(request.tags);
                    model.write(at, record, ttl);
                }
                refused => assert_eq!(refusal, Some(refused)),
            }
        }
        Call::Destroy(at) => {
            ready(store.destroy(&key(at)));
            model.live.remove(&at);
            model.tombstones.insert(at, model.now + TOMBSTONE);
        }
        Call::Touch(at, ttl) => {
            assert_eq!(
                ready(store.touch(&key(at), millis(ttl))),
                model.touch(at, ttl)
            );
        }
        Call::Tagged(name) => {
            let listed = ready(store.tagged(&tag(name)));
            assert_eq!(listed.len(), model.tagged(name).len());
            assert_eq!(
                listed.into_iter().collect::<BTreeSet<_>>(),
                model.tagged(name)
            );
        }
        Call::Advance(time) => {
            clock.advance(millis(time));
            model.advance(time);
        }
        Call::Sweep => drop(store.sweep()),
    }
}

proptest! {
    #[test]
    fn the_memory_store_answers_like_its_model(calls in vec(calls(), 1..120)) {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let builder = MemoryStore::builder().clock(clock.clone());
        let store = builder.tombstone_ttl(millis(TOMBSTONE)).build();
        let mut model = Model::default();
        for call in calls {
            step(&store, &clock, &mut model, call);
        }
        store.sweep();
        let stats = store.stats();
        prop_assert_eq!(stats.records, model.live.len() as u64);
        prop_assert_eq!(stats.tombstones, model.tombstones.len() as u64);
        let records = model.live.values().map(|entry| &entry.record);
        let bytes = records.map(|record| record.data.len() + record.tags.as_bytes().len());
        prop_assert_eq!(stats.bytes, bytes.sum::<usize>() as u64);
    }
}
