//! A random workload of all operations, and a model of the expected state.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        Durability, FileError, FileStore, FileStoreBuilder, OnDamage,
        compact::{maintenance::sweep, segment::Compactor},
        encryption::RecordCipher,
        log::{engine::FileEngine, write::WriteReply},
        recover,
    },
    disk::{SeededRng, SimDisk},
    state::{History, KeyState, all_tags, repeated_byte},
};
use crate::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    seal::{KeyRing, SealKey},
    store::{Expected, Expiry, Tags, Version, WriteOutcome, WriteRequest},
};

const KEYS: u64 = 7;
const SEGMENT: u64 = 16 << 10;

pub(super) struct Workload {
    pub(super) engine: FileEngine,
    disk: SimDisk,
    clock: Clock,
    histories: BTreeMap<StoreKey, History>,
    durability: Durability,
    /// An operation counts as acknowledged when it succeeds, not only at the next sync.
    acknowledge_at_once: bool,
    newest_version: u64,
    /// The keys of the openings in turn. Without any, records are not encrypted.
    ciphers: Vec<RecordCipher>,
    openings: usize,
}

/// Opens the store with preallocation.
pub(super) fn open(disk: &SimDisk, clock: &Clock) -> Result<FileEngine, FileError> {
    open_with(Durability::Always, disk, clock, None)
}

fn open_with(
    durability: Durability,
    disk: &SimDisk,
    clock: &Clock,
    cipher: Option<&RecordCipher>,
) -> Result<FileEngine, FileError> {
    let mut options = builder(clock).durability(durability).options;
    options.cipher = cipher.cloned();
    recover::open::open(Box::new(disk.clone()), options)
}

/// Opens the store with this reaction to damage.
pub(super) fn open_damaged(
    disk: &SimDisk,
    clock: &Clock,
    on_damage: OnDamage,
) -> Result<FileEngine, FileError> {
    let builder = builder(clock).on_damage(on_damage);
    recover::open::open(Box::new(disk.clone()), builder.options)
}

/// Drops uncertain sessions, and reads all segments.
pub(super) fn repair(disk: &SimDisk, clock: &Clock) -> Result<FileEngine, FileError> {
    let builder = builder(clock).on_damage(OnDamage::DropUncertain);
    recover::open::open(Box::new(disk.clone()), builder.verify_on_open(true).options)
}

fn builder(clock: &Clock) -> FileStoreBuilder {
    FileStore::builder("simulated")
        .segment_bytes(SEGMENT)
        .tombstone_ttl(Duration::from_secs(30))
        .cache_bytes(0)
        .clock(clock.clone())
}

pub(super) fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_000_000))
}

fn key(number: u64) -> StoreKey {
    StoreKey::from_bytes([number as u8 + 1; StoreKey::LEN])
}

impl Workload {
    pub(super) fn begin(
        disk: &SimDisk,
        durability: Durability,
        acknowledge_at_once: bool,
    ) -> Result<Self, FileError> {
        let clock = clock();
        Ok(Self {
            engine: open_with(durability, disk, &clock, None)?,
            durability,
            disk: disk.clone(),
            clock,
            histories: (0..KEYS)
                .map(|k| (key(k), vec![KeyState::default()]))
                .collect(),
            acknowledge_at_once,
            newest_version: 0,
            ciphers: Vec::new(),
            openings: 0,
        })
    }

    /// From now on, each opening encrypts with the other of two keys.
    pub(super) fn rotate_keys(&mut self) {
        let keys = ["a", "b"].map(|text| SealKey::from_text(&format!("{text:-^40}")).unwrap());
        let cipher = |first: usize| {
            let ring = KeyRing::new(keys[first].clone()).with_previous(keys[1 - first].clone());
            RecordCipher::new(&ring.unwrap())
        };
        self.ciphers = vec![cipher(0), cipher(1)];
    }

    fn open(&self, disk: &SimDisk, durability: Durability) -> Result<FileEngine, FileError> {
        let mut ciphers = self.ciphers.iter().cycle();
        open_with(durability, disk, &self.clock, ciphers.nth(self.openings))
    }

    /// Executes `steps` operations, successful or not, until the machine stops.
    pub(super) fn run(&mut self, seed: u64, steps: usize) {
        let mut rng = SeededRng(seed);
        for _ in 0..steps {
            self.step(&mut rng);
            if self.disk.is_stopped() {
                return;
            }
        }
    }

    fn step(&mut self, rng: &mut SeededRng) {
        let key = key(rng.next_below(KEYS));
        match rng.next_below(20) {
            0..=6 => self.write(key, rng),
            7..=10 => self.write_group(rng),
            11 | 12 => self.touch(key, rng.next_below(100)),
            13 | 14 => self.destroy(key),
            15 => self.clock.advance(Duration::from_secs(rng.next_below(12))),
            16 => self.maintain(),
            17 => self.reopen(rng.next_below(2) == 0),
            _ => self.sync(),
        }
    }

    fn current_state(&self, key: &StoreKey) -> KeyState {
        let mut state = self.histories[key].last().cloned().unwrap();
        if state.expires <= self.clock.now() {
            state = KeyState::default();
        }
        state
    }

    /// Records the result of an operation. A failed operation changes nothing, unless the machine
    /// stopped or the store was poisoned meanwhile; then its effect is unknown.
    fn record<T>(&mut self, key: StoreKey, after: KeyState, result: &Result<T, FileError>) {
        let unknown = self.disk.is_stopped() || self.engine.log.check_poison().is_err();
        let history = self.histories.get_mut(&key).unwrap();
        match result {
            Ok(_) => {
                if self.acknowledge_at_once && !unknown {
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

    fn write(&mut self, key: StoreKey, rng: &mut SeededRng) {
        let write = self.random_write(key, rng);
        let result = self.with_room(|engine| engine.write(&write));
        self.record_write(&write, &result);
    }

    /// Executes several writes as a group, some of the same session.
    fn write_group(&mut self, rng: &mut SeededRng) {
        let writes: Vec<WriteRequest> = (0..=rng.next_below(6))
            .map(|_| WriteRequest {
                // The version is not known if an earlier write of the group has the same key.
                expected: Expected::Any,
                ..self.random_write(key(rng.next_below(KEYS)), rng)
            })
            .collect();
        let prepare = |write: &WriteRequest| self.engine.prepare_write(write).unwrap();
        let group: Vec<_> = writes.iter().map(prepare).collect();
        let result = self.engine.write_group(&group);
        assert_eq!(result.len(), writes.len(), "every writer gets an answer");
        for (write, result) in writes.iter().zip(&result) {
            self.record_write(write, result);
        }
    }

    fn random_write(&self, key: StoreKey, rng: &mut SeededRng) -> WriteRequest {
        let version = self
            .current_state(&key)
            .record
            .and_then(|(_, _, version)| version);
        let known = version.and_then(Version::new);
        let data = vec![rng.next_below(256) as u8; rng.next_below(900) as usize];
        let expiry = match rng.next_below(4) {
            0 => Expiry::Keep,
            _ => Expiry::After(Duration::from_secs(1 + rng.next_below(60))),
        };
        let mut tags = Tags::new();
        for tag in all_tags() {
            if rng.next_below(5) == 0 {
                tags.insert(&tag).unwrap();
            }
        }
        let expected = known.map_or(Expected::Any, Expected::Version);
        WriteRequest::new(&key, data, expiry, expected).tags(tags)
    }

    fn record_write(&mut self, write: &WriteRequest, result: &Result<WriteReply, FileError>) {
        let before = self.current_state(&write.key);
        let version = match result {
            Ok(WriteReply::Answer((WriteOutcome::Done(version), _))) => Some(version.get()),
            Ok(WriteReply::Answer((WriteOutcome::Gone, _))) => {
                assert!(before.record.is_none(), "a live record is not gone");
                return;
            }
            Ok(_) => panic!("a write of the version that was read had a conflict"),
            Err(_) => None,
        };
        if let Some(version) = version {
            assert!(version > self.newest_version, "versions go up");
            self.newest_version = version;
        }
        let expires = match write.expiry {
            Expiry::After(ttl) => self.clock.now().saturating_add(ttl),
            Expiry::Keep if before.record.is_none() => {
                assert!(version.is_none(), "there is no expiry to keep");
                return;
            }
            Expiry::Keep => before.expires,
        };
        let after = KeyState {
            record: Some((repeated_byte(&write.data), write.tags.clone(), version)),
            expires,
        };
        self.record(write.key, after, result);
    }

    fn touch(&mut self, key: StoreKey, seconds: u64) {
        let mut after = self.current_state(&key);
        let live = after.record.is_some();
        let ttl = Duration::from_secs(1 + seconds);
        after.expires = self.clock.now().saturating_add(ttl);
        let result = self.with_room(|engine| engine.touch(&key, ttl));
        if let Ok((touched, _)) = result {
            assert_eq!(touched, live, "only live records are touched");
        }
        if live {
            self.record(key, after, &result);
        }
    }

    fn destroy(&mut self, key: StoreKey) {
        let after = KeyState {
            expires: self.clock.now().saturating_add(Duration::from_secs(30)),
            ..KeyState::default()
        };
        let result = self.with_room(|engine| engine.destroy(&key));
        self.record(key, after, &result);
    }

    /// Runs the work of the maintenance thread.
    fn maintain(&self) {
        let _ = self.engine.log.check_paths();
        let _ = self.engine.log.prepare_next();
        for shard in 0..8 {
            sweep(&self.engine, shard);
            self.check_limit();
        }
        while Compactor(&self.engine).is_needed() && self.compact_oldest() {}
        for segment in self.engine.log.segments_without_hint() {
            let _ = self.engine.log.write_hint(&segment);
            self.check_limit();
        }
    }

    /// Compacts a segment, and checks the limit on disk space after every append. Returns `false` if the
    /// disk failed.
    fn compact_oldest(&self) -> bool {
        let compacted = Compactor(&self.engine).compact_oldest(|_| {
            self.check_limit();
            true
        });
        self.check_limit();
        compacted.is_ok()
    }

    fn with_room<T>(
        &self,
        mutation: impl Fn(&FileEngine) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let result = with_room(|| mutation(&self.engine), || self.compact_oldest());
        self.check_limit();
        result
    }

    fn check_limit(&self) {
        let stats = self.engine.stats();
        assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
    }

    fn sync(&mut self) {
        if self.engine.log.sync().is_ok() {
            for history in self.histories.values_mut() {
                history.drain(..history.len() - 1);
            }
        }
    }

    /// Ends the process, with or without closing the store, and starts the next one.
    fn reopen(&mut self, close: bool) {
        if self.engine.log.check_poison().is_err() || self.disk.is_broken() {
            return;
        }
        if close && self.engine.log.finish().is_ok() {
            self.sync();
            let active = Arc::clone(self.engine.log.lock().active());
            let _ = self.engine.log.write_last_hint(&active);
        }
        // The first attempt fails if the disk has a single error.
        self.openings += 1;
        let open = || self.open(&self.disk, self.durability);
        if let Ok(engine) = open() {
            self.engine = engine;
        } else if !self.disk.is_stopped() && !self.disk.is_broken() {
            self.engine = open().expect("the second attempt opens");
        }
    }

    /// Opens the store after a crash, and checks the state of every key.
    pub(super) fn check_after(&self, disk: &SimDisk) {
        let engine = self
            .open(disk, Durability::Always)
            .expect("the store opens after a crash");
        let first = self.check(&engine);
        let again = self
            .open(disk, Durability::Always)
            .expect("the store opens again");
        assert_eq!(first, self.check(&again), "opening again changes nothing");
        let fresh = StoreKey::from_bytes([0xee; StoreKey::LEN]);
        let (ttl, expected) = (Duration::from_secs(1), Expected::Any);
        let reply = with_room(
            || again.write(&WriteRequest::new(&fresh, Bytes::new(), ttl, expected)),
            || Compactor(&again).compact_oldest(|_| true).is_ok(),
        );
        let Ok(WriteReply::Answer((WriteOutcome::Done(version), _))) = reply else {
            panic!("the store accepts writes after a crash");
        };
        assert!(
            version.get() > self.newest_version,
            "versions never go back"
        );
    }

    /// Checks that every key has an allowed state; returns the states.
    pub(super) fn check(&self, engine: &FileEngine) -> Vec<KeyState> {
        let states = self.histories.iter().map(|(key, history)| {
            let now = self.clock.now();
            let state = KeyState::observe(engine, key, now);
            assert!(
                state.is_allowed(history, now),
                "{key:?} is {state:?}, allowed are {history:?}"
            );
            state
        });
        states.collect()
    }
}

/// Tries a mutation again after each compaction while there is no room for it.
fn with_room<T>(
    mutation: impl Fn() -> Result<T, FileError>,
    compact: impl Fn() -> bool,
) -> Result<T, FileError> {
    let mut compactions = 0..100;
    loop {
        let result = mutation();
        if !matches!(result, Err(FileError::DiskLimit { .. })) || !compact() {
            return result;
        }
        compactions.next().expect("compaction makes room");
    }
}

/// Checks that the store's sizes match the simulated disk.
pub(super) fn check_sizes(workload: &Workload) {
    let stats = workload.engine.stats();
    assert_eq!(stats.disk_bytes, workload.disk.used(), "the size on disk");
    assert_eq!(
        stats.live_bytes,
        workload.engine.index.live_bytes(),
        "the size of the live data"
    );
}
