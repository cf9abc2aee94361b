//! Random calls of the memory store are answered as a plain map would answer them.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        Expected, MemoryStore, ReadOutcome, Record, Store, StoreFuture, Tag, TagStore, Version,
        WriteOutcome,
    },
};
use proptest::{collection::vec, prelude::*};

const TOMBSTONE: u64 = 50;

/// What a write expects, in terms of what the model knows.
#[derive(Clone, Copy, Debug)]
enum Hope {
    Absent,
    Any,
    /// The version that this key was last written with, live or not.
    Last,
    /// A version that belongs to nothing.
    Wrong,
}

/// Keys and tags are small numbers, times milliseconds.
#[derive(Clone, Debug)]
enum Call {
    Read(u8, Option<u64>),
    Write(u8, Vec<u8>, u64, Hope),
    Destroy(u8),
    Touch(u8, u64),
    Tag(u8, u8),
    Untag(u8, u8),
    Tagged(u8),
    MoveTags(u8, u8),
    Pass(u64),
    Sweep,
}

fn calls() -> impl Strategy<Value = Call> {
    let (key, tag, time) = (
        || 0..4u8,
        || 0..3u8,
        || prop_oneof![0..60u64, Just(u64::MAX)],
    );
    let hope = prop_oneof![
        1 => Just(Hope::Absent),
        1 => Just(Hope::Any),
        3 => Just(Hope::Last),
        1 => Just(Hope::Wrong)
    ];
    prop_oneof![
        3 => (key(), proptest::option::of(time())).prop_map(|(key, ttl)| Call::Read(key, ttl)),
        6 => (key(), vec(any::<u8>(), 0..5), time(), hope)
            .prop_map(|(key, data, ttl, hope)| Call::Write(key, data, ttl, hope)),
        1 => key().prop_map(Call::Destroy),
        2 => (key(), time()).prop_map(|(key, ttl)| Call::Touch(key, ttl)),
        3 => (key(), tag()).prop_map(|(key, tag)| Call::Tag(key, tag)),
        1 => (key(), tag()).prop_map(|(key, tag)| Call::Untag(key, tag)),
        2 => tag().prop_map(Call::Tagged),
        1 => (key(), key()).prop_map(|(from, to)| Call::MoveTags(from, to)),
        3 => (1..40u64).prop_map(Call::Pass),
        1 => Just(Call::Sweep),
    ]
}

struct Life {
    record: Record,
    ends: u64,
    tags: BTreeSet<u8>,
}

/// The contract, written down as plainly as can be.
#[derive(Default)]
struct Model {
    now: u64,
    lives: HashMap<u8, Life>,
    fences: HashMap<u8, u64>,
    last: HashMap<u8, Version>,
    versions: HashSet<Version>,
}

impl Model {
    fn pass(&mut self, time: u64) {
        self.now += time;
        let now = self.now;
        self.lives.retain(|_, life| now < life.ends);
        self.fences.retain(|_, end| now < *end);
    }

    fn read(&self, key: u8) -> ReadOutcome {
        match self.lives.get(&key) {
            Some(life) => ReadOutcome::Found(life.record.clone()),
            None if self.fences.contains_key(&key) => ReadOutcome::Gone,
            None => ReadOutcome::Absent,
        }
    }

    fn touch(&mut self, key: u8, ttl: u64) -> bool {
        let (now, life) = (self.now, self.lives.get_mut(&key));
        let touched = life
            .map(|life| life.ends = now.saturating_add(ttl))
            .is_some();
        self.pass(0);
        touched
    }

    /// The answer due to a write that is refused.
    fn refusal(&self, key: u8, expected: Expected) -> Option<WriteOutcome> {
        match (self.read(key), expected) {
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

    fn write(&mut self, key: u8, record: Record, ttl: u64) {
        assert!(self.versions.insert(record.version), "a version came twice");
        self.last.insert(key, record.version);
        let tags = self
            .lives
            .remove(&key)
            .map(|life| life.tags)
            .unwrap_or_default();
        let ends = self.now.saturating_add(ttl);
        self.lives.insert(key, Life { record, ends, tags });
        self.pass(0);
    }

    fn move_tags(&mut self, from: u8, to: u8) {
        if self.lives.contains_key(&to)
            && let Some(old) = self.lives.get_mut(&from)
        {
            let tags = std::mem::take(&mut old.tags);
            self.lives.entry(to).and_modify(|new| new.tags.extend(tags));
        }
    }

    fn tagged(&self, tag: u8) -> BTreeSet<StoreKey> {
        let carry = self
            .lives
            .iter()
            .filter(|(_, life)| life.tags.contains(&tag));
        carry.map(|(number, _)| key(*number)).collect()
    }
}

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

fn tag(number: u8) -> Tag {
    Tag::new(number.to_string()).unwrap()
}

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn now<T: Unpin>(answer: StoreFuture<T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => unreachable!("the memory store never suspends"),
    }
}

/// Makes one call of both, and compares.
fn step(store: &MemoryStore, clock: &Clock, model: &mut Model, call: Call) {
    match call {
        Call::Read(at, touch) => {
            let due = model.read(at);
            assert_eq!(now(store.read(&key(at), touch.map(millis))), due);
            touch.map(|ttl| model.touch(at, ttl));
        }
        Call::Write(at, data, ttl, hope) => {
            let wrong = Version::new(1 << 60).unwrap();
            let expected = match hope {
                Hope::Absent => Expected::Absent,
                Hope::Any => Expected::Any,
                Hope::Last => Expected::Version(model.last.get(&at).copied().unwrap_or(wrong)),
                Hope::Wrong => Expected::Version(wrong),
            };
            let data = Bytes::from(data);
            match now(store.write(&key(at), data.clone(), millis(ttl), expected)) {
                WriteOutcome::Done(version) => {
                    assert_eq!(model.refusal(at, expected), None);
                    model.write(at, Record::new(data, version), ttl);
                }
                refused => assert_eq!(model.refusal(at, expected), Some(refused)),
            }
        }
        Call::Destroy(at) => {
            now(store.destroy(&key(at)));
            model.lives.remove(&at);
            model.fences.insert(at, model.now + TOMBSTONE);
        }
        Call::Touch(at, ttl) => {
            assert_eq!(
                now(store.touch(&key(at), millis(ttl))),
                model.touch(at, ttl)
            );
        }
        Call::Tag(at, name) => {
            let life = model.lives.get_mut(&at);
            let tagged = life.map(|life| life.tags.insert(name)).is_some();
            assert_eq!(now(store.tag(&key(at), &tag(name))), tagged);
        }
        Call::Untag(at, name) => {
            now(store.untag(&key(at), &tag(name)));
            model.lives.get_mut(&at).map(|life| life.tags.remove(&name));
        }
        Call::Tagged(name) => {
            let listed = now(store.tagged(&tag(name)));
            assert_eq!(listed.len(), model.tagged(name).len());
            assert_eq!(
                listed.into_iter().collect::<BTreeSet<_>>(),
                model.tagged(name)
            );
        }
        Call::MoveTags(from, to) => {
            now(store.move_tags(&key(from), &key(to)));
            model.move_tags(from, to);
        }
        Call::Pass(time) => {
            clock.advance(millis(time));
            model.pass(time);
        }
        Call::Sweep => drop(store.sweep()),
    }
}

proptest! {
    #[test]
    fn the_memory_store_answers_as_its_model(calls in vec(calls(), 1..120)) {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let builder = MemoryStore::builder().clock(clock.clone());
        let store = builder.tombstone_ttl(millis(TOMBSTONE)).build();
        let mut model = Model::default();
        for call in calls {
            step(&store, &clock, &mut model, call);
        }
        store.sweep();
        let stats = store.stats();
        prop_assert_eq!(stats.records, model.lives.len() as u64);
        prop_assert_eq!(stats.tombstones, model.fences.len() as u64);
        let bytes = model.lives.values().map(|life| life.record.data.len() + life.tags.len());
        prop_assert_eq!(stats.bytes, bytes.sum::<usize>() as u64);
    }
}
