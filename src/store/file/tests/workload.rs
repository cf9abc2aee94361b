//! A workload over everything the store does, beside a model of what it must remember.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        Durability, FileError, FileStore,
        engine::{Engine, lock},
        options::FileStoreBuilder,
        recover,
        write::Attempt,
    },
    disk::{Dice, SimDisk},
    state::{History, State, filled},
};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{Expected, Tag, Version, WriteOutcome},
};

const KEYS: u64 = 7;
const SEGMENT: u64 = 16 << 10;

/// A write that the workload does.
struct Write {
    key: StoreKey,
    data: Bytes,
    ttl: Duration,
    expected: Expected,
}

pub(super) struct Workload {
    pub(super) engine: Engine,
    disk: SimDisk,
    clock: Clock,
    histories: BTreeMap<StoreKey, History>,
    durability: Durability,
    /// Whether an operation counts as acknowledged when it succeeds, or only at the next sync.
    at_once: bool,
    newest_version: u64,
}

/// Opens the store as the workload does: the disk makes room ahead of the log.
pub(super) fn open(disk: &SimDisk, clock: &Clock) -> Result<Engine, FileError> {
    open_as(Durability::Always, disk, clock)
}

fn open_as(durability: Durability, disk: &SimDisk, clock: &Clock) -> Result<Engine, FileError> {
    let options: FileStoreBuilder = FileStore::builder("simulated")
        .durability(durability)
        .segment_bytes(SEGMENT)
        .tombstone_ttl(Duration::from_secs(30))
        .cache_bytes(0)
        .clock(clock.clone());
    recover::open(Box::new(disk.clone()), options)
}

pub(super) fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_000_000))
}

fn key(number: u64) -> StoreKey {
    StoreKey::from_bytes([number as u8 + 1; StoreKey::LEN])
}

fn tag(number: u64) -> Tag {
    Tag::new(format!("tag-{number}")).unwrap()
}

impl Workload {
    pub(super) fn begin(
        disk: &SimDisk,
        durability: Durability,
        at_once: bool,
    ) -> Result<Self, FileError> {
        let clock = clock();
        Ok(Self {
            engine: open_as(durability, disk, &clock)?,
            durability,
            disk: disk.clone(),
            clock,
            histories: (0..KEYS)
                .map(|k| (key(k), vec![State::default()]))
                .collect(),
            at_once,
            newest_version: 0,
        })
    }

    /// Does `steps` operations, whatever becomes of them, until the machine stops.
    pub(super) fn run(&mut self, seed: u64, steps: usize) {
        let mut dice = Dice(seed);
        for _ in 0..steps {
            self.step(&mut dice);
            if self.disk.is_cut() {
                return;
            }
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        let key = key(dice.below(KEYS));
        match dice.below(20) {
            0..=4 => self.write(key, dice),
            5..=7 => self.write_group(dice),
            8 | 9 => self.touch(key, dice.below(100)),
            10 | 11 => self.destroy(key),
            12 | 13 => self.tag(key, dice.below(5)),
            14 => self.untag(key, dice.below(5)),
            15 => self.clock.advance(Duration::from_secs(dice.below(12))),
            16 => self.maintain(),
            17 => self.reopen(dice.below(2) == 0),
            _ => self.sync(),
        }
    }

    fn now(&self, key: &StoreKey) -> State {
        let mut state = self.histories[key].last().cloned().unwrap();
        if state.expires <= self.clock.now() {
            state = State::default();
        }
        state
    }

    /// Notes what an operation led to. A failed one led to nothing, unless the machine stopped or
    /// the store gave up in the middle of it: then nobody knows.
    fn note<T>(&mut self, key: StoreKey, after: State, done: &Result<T, FileError>) {
        let unknown = self.disk.is_cut() || self.engine.check_poison().is_err();
        let history = self.histories.get_mut(&key).unwrap();
        match done {
            Ok(_) => {
                if self.at_once && !unknown {
                    history.clear();
                }
                history.push(after);
            }
            Err(_) if unknown => {
                let before = history.last().cloned().unwrap();
                history.push(after);
                history.push(before);
            }
            Err(_) => {}
        }
    }

    fn write(&mut self, key: StoreKey, dice: &mut Dice) {
        let attempt = self.attempt(key, dice);
        let (data, ttl, expected) = (&attempt.data, attempt.ttl, attempt.expected);
        let done = self.engine.write(&key, data, ttl, expected);
        self.note_write(attempt, &done);
    }

    /// Some writes at a time, also of the same session.
    fn write_group(&mut self, dice: &mut Dice) {
        let attempts: Vec<Write> = (0..=dice.below(6))
            .map(|_| Write {
                // What is expected is not known where one of the same group comes before.
                expected: Expected::Any,
                ..self.attempt(key(dice.below(KEYS)), dice)
            })
            .collect();
        let draft = |write: &Write| {
            let (key, data, ttl) = (&write.key, &write.data, write.ttl);
            self.engine.draft(key, data, ttl, write.expected).unwrap()
        };
        let drafts: Vec<_> = attempts.iter().map(draft).collect();
        let done = self.engine.write_group(&drafts);
        assert_eq!(done.len(), attempts.len(), "every writer gets an answer");
        for (write, done) in attempts.into_iter().zip(&done) {
            self.note_write(write, done);
        }
    }

    fn attempt(&self, key: StoreKey, dice: &mut Dice) -> Write {
        let version = self.now(&key).record.and_then(|(_, version)| version);
        let known = version.and_then(Version::new);
        Write {
            key,
            data: Bytes::from(vec![dice.below(256) as u8; dice.below(900) as usize]),
            ttl: Duration::from_secs(1 + dice.below(60)),
            expected: known.map_or(Expected::Any, Expected::Version),
        }
    }

    fn note_write(&mut self, write: Write, done: &Result<Attempt, FileError>) {
        let version = match done {
            Ok(Attempt::Answered((WriteOutcome::Done(version), _))) => Some(version.get()),
            Ok(Attempt::Answered((WriteOutcome::Gone, _))) => return,
            Ok(_) => panic!("a write of the version that was read met a conflict"),
            Err(_) => None,
        };
        if let Some(version) = version {
            assert!(version > self.newest_version, "versions go up");
            self.newest_version = version;
        }
        let after = State {
            record: Some((filled(&write.data), version)),
            expires: self.clock.now().saturating_add(write.ttl),
            tags: self.now(&write.key).tags,
        };
        self.note(write.key, after, done);
    }

    fn touch(&mut self, key: StoreKey, seconds: u64) {
        let mut after = self.now(&key);
        let live = after.record.is_some();
        let ttl = Duration::from_secs(1 + seconds);
        after.expires = self.clock.now().saturating_add(ttl);
        let done = self.engine.touch(&key, ttl);
        if let Ok((touched, _)) = done {
            assert_eq!(touched, live, "live records are touched, and no others");
        }
        if live {
            self.note(key, after, &done);
        }
    }

    fn destroy(&mut self, key: StoreKey) {
        let after = State {
            expires: self.clock.now().saturating_add(Duration::from_secs(30)),
            ..State::default()
        };
        let done = self.engine.destroy(&key);
        self.note(key, after, &done);
    }

    fn tag(&mut self, key: StoreKey, number: u64) {
        let mut after = self.now(&key);
        if after.record.is_some() {
            let tag = tag(number);
            after.tags.retain(|one| *one != tag);
            after.tags.push(tag.clone());
            after.tags.sort();
            let done = self.engine.tag(&key, &tag);
            self.note(key, after.clone(), &done);
        }
    }

    fn untag(&mut self, key: StoreKey, number: u64) {
        let mut after = self.now(&key);
        if after.record.is_some() {
            after.tags.retain(|one| *one != tag(number));
            let done = self.engine.untag(&key, &tag(number));
            self.note(key, after, &done);
        }
    }

    /// What the background thread does.
    fn maintain(&self) {
        let _ = self.engine.prepare_next();
        for shard in 0..8 {
            self.engine.sweep(shard);
        }
        while self.engine.wants_cleaning() && self.engine.clean_oldest(|_| true).is_ok() {}
        for segment in super::super::keeper::unhinted(&self.engine) {
            let _ = self.engine.write_hint(&segment);
        }
    }

    fn sync(&mut self) {
        if self.engine.sync().is_ok() {
            for history in self.histories.values_mut() {
                history.drain(..history.len() - 1);
            }
        }
    }

    /// The process ends, in good order or not, and the next one begins.
    fn reopen(&mut self, in_order: bool) {
        if self.engine.check_poison().is_err() || self.disk.is_broken() {
            return;
        }
        if in_order && self.engine.finish().is_ok() {
            self.sync();
            let active = self.engine.lock_log().active.id;
            let active = self.engine.segment(active).unwrap();
            let _ = self.engine.write_hint(&active);
        }
        // An opening that fails is tried again, by the next step that reopens.
        let open = || open_as(self.durability, &self.disk, &self.clock);
        if let Ok(engine) = open() {
            self.engine = engine;
        } else if !self.disk.is_cut() && !self.disk.is_broken() {
            self.engine = open().expect("the second attempt opens");
        }
    }

    /// Opens the store on what a crash left, and checks that it remembers what it must.
    pub(super) fn check_after(&self, disk: &SimDisk) {
        let engine = open(disk, &self.clock).expect("the store opens after a crash");
        let first = self.check(&engine);
        let again = open(disk, &self.clock).expect("the store opens again");
        assert_eq!(first, self.check(&again), "opening again changes nothing");
        let fresh = StoreKey::from_bytes([0xee; StoreKey::LEN]);
        let answer = again.write(&fresh, &Bytes::new(), Duration::from_secs(1), Expected::Any);
        let Ok(Attempt::Answered((WriteOutcome::Done(version), _))) = answer else {
            panic!("the store takes writes after a crash");
        };
        assert!(
            version.get() > self.newest_version,
            "versions never go back"
        );
    }

    /// Checks that every key is in a state that it may be in; returns what was found.
    pub(super) fn check(&self, engine: &Engine) -> Vec<State> {
        let found = self.histories.iter().map(|(key, history)| {
            let now = self.clock.now();
            let found = State::observe(engine, key, now);
            assert!(
                found.is_allowed(history, now),
                "{key:?} is {found:?}, allowed are {history:?}"
            );
            found
        });
        found.collect()
    }
}

/// The simulated disk has what the store says it has.
pub(super) fn check_sizes(workload: &Workload) {
    let stats = workload.engine.stats();
    assert_eq!(
        stats.disk_bytes,
        workload.disk.used(),
        "the store knows its size"
    );
    assert_eq!(
        stats.live_bytes,
        workload.engine.index.weight() + lock(&workload.engine.tags).weight(),
        "the store knows what is live"
    );
}
