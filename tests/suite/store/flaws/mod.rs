//! Stores that each break one promise, like bugs of real stores. They wrap the memory store.

mod scan;
mod tags;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        Capabilities, Expected, Expiry, MemoryStore, ReadOutcome, Record, ScanStore, Store,
        StoreFuture, TagStore, Tags, Version, WriteOutcome, WriteRequest,
    },
};

/// The promise that a store breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    NoCapabilities,
    TextOnly,
    KeyCutShort,
    VersionsStartOver,
    TouchWrites,
    ExpectationIgnored,
    StaleConflict,
    VersionCreates,
    ExpiredMatches,
    NoTombstone,
    NoTombstoneWithoutRecord,
    EndlessTombstone,
    TouchEndsTombstone,
    FirstTombstoneOnly,
    ExpiredRead,
    TouchRevives,
    ReadDoesNotTouch,
    ReadAlwaysTouches,
    TtlRounded,
    TtlWraps,
    WriteKeepsExpiry,
    CompareThenSet,
    TouchWritesBack,
    CheckThenSet,
    CountNeverFalls,
    KeepProlongs,
    KeepForgetsTouches,
    KeepCreates,
    KeepIgnoresExpectation,
    WriteDropsTags,
    EmptyTagsKeepOld,
    TagsSplitAtCommas,
    TagsCutShort,
    ConflictWithoutTags,
    TouchDropsTags,
    TagsInherited,
    TagsWrittenApart,
    IndexMissesOverwrites,
    IndexMissesKeep,
    IndexKeepsRemoved,
    IndexListsTwice,
    IndexIgnoresCase,
    IndexOutlivesSessions,
    IndexWrittenBack,
    IndexWrittenLate,
    IndexIgnoresTouches,
    DestroyTaggedIgnoresException,
    ScanLeavesOut,
    ScanByOffset,
    TimeToLiveIgnoresTouches,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The data of a key that the wrapped store does not have.
#[derive(Default)]
struct KeyData {
    last: Option<Record>,
    tags: Tags,
    expires: Timestamp,
    /// The expiry that the last write set, whatever touched the record since.
    written_expires: Timestamp,
    is_touched: bool,
    /// The difference to the wrapped store's versions, so that the versions of each record start at one.
    base: u64,
    tombstone_ends: Option<Timestamp>,
    is_destroyed: bool,
}

#[derive(Clone)]
pub(crate) struct BrokenStore {
    flaw: Flaw,
    clock: Clock,
    sound: MemoryStore,
    keys: Arc<Mutex<HashMap<StoreKey, KeyData>>>,
    own_index: Arc<Mutex<HashMap<String, Vec<StoreKey>>>>,
}

impl BrokenStore {
    pub(crate) fn new(flaw: Flaw, clock: Clock) -> Self {
        let tombstone = match flaw {
            Flaw::EndlessTombstone => Duration::MAX,
            _ => Duration::from_secs(60),
        };
        let sound = MemoryStore::builder()
            .clock(clock.clone())
            .tombstone_ttl(tombstone)
            .build();
        Self {
            flaw,
            clock,
            sound,
            keys: Arc::default(),
            own_index: Arc::default(),
        }
    }

    fn with_data<T>(&self, key: &StoreKey, act: impl FnOnce(&mut KeyData) -> T) -> T {
        act(self.keys.lock().unwrap().entry(*key).or_default())
    }

    fn key(&self, key: &StoreKey) -> StoreKey {
        let mut bytes = *key.as_bytes();
        if self.flaw == Flaw::KeyCutShort {
            bytes[StoreKey::LEN - 1] = 0;
        }
        StoreKey::from_bytes(bytes)
    }

    fn ttl(&self, key: &StoreKey, ttl: Duration, is_live: bool) -> Duration {
        match self.flaw {
            Flaw::TtlRounded => ttl.max(Duration::from_secs(1)),
            Flaw::TtlWraps if i64::try_from(ttl.as_millis()).is_err() => Duration::ZERO,
            Flaw::WriteKeepsExpiry if is_live => self.time_until(key, |data| data.expires),
            _ => ttl,
        }
    }

    fn time_until(&self, key: &StoreKey, end: impl FnOnce(&KeyData) -> Timestamp) -> Duration {
        self.with_data(key, |data| end(data).duration_since(self.clock.now()))
    }

    fn altered_expiry(&self, key: &StoreKey, expiry: Expiry, stored: &ReadOutcome) -> Expiry {
        let is_live = matches!(stored, ReadOutcome::Found(_));
        match (self.flaw, expiry) {
            (_, Expiry::After(ttl)) => self.ttl(key, ttl, is_live).into(),
            (Flaw::KeepProlongs, Expiry::Keep) if is_live => DAY.into(),
            (Flaw::KeepCreates, Expiry::Keep) if !is_live => DAY.into(),
            (Flaw::KeepForgetsTouches, Expiry::Keep) if is_live => {
                self.time_until(key, |data| data.written_expires).into()
            }
            (_, Expiry::Keep) => Expiry::Keep,
        }
    }

    /// Reads from the wrapped store.
    async fn read_sound(&self, key: &StoreKey) -> ReadOutcome {
        self.sound.read(key, None).await.unwrap()
    }

    /// Returns the record as this store shows it.
    fn shown(&self, key: &StoreKey, record: Record) -> Record {
        let number = record.version.get();
        self.with_data(key, |data| {
            let version = Version::new(number.wrapping_sub(data.base)).unwrap();
            Record::new(record.data, version).tags(match self.flaw {
                Flaw::TouchDropsTags if data.is_touched => Tags::new(),
                Flaw::TagsWrittenApart => data.tags.clone(),
                _ => record.tags,
            })
        })
    }

    async fn broken_read(self, key: StoreKey, touch: Option<Duration>) -> ReadOutcome {
        let touch = match self.flaw {
            Flaw::ReadDoesNotTouch => None,
            Flaw::ReadAlwaysTouches => touch.or(Some(DAY)),
            _ => touch.map(|ttl| self.ttl(&key, ttl, false)),
        };
        let read = self.sound.read(&key, touch).await.unwrap();
        let now = self.clock.now();
        self.with_data(&key, |data| match (self.flaw, &read) {
            (Flaw::ExpiredRead, ReadOutcome::Absent) => data.last.clone().map(ReadOutcome::Found),
            (Flaw::CheckThenSet, _) if data.is_destroyed => Some(ReadOutcome::Gone),
            (Flaw::TouchEndsTombstone, ReadOutcome::Gone) => data
                .tombstone_ends
                .filter(|end| *end <= now)
                .map(|_| ReadOutcome::Absent),
            _ => None,
        })
        .unwrap_or(match read {
            ReadOutcome::Found(record) => ReadOutcome::Found(self.shown(&key, record)),
            ReadOutcome::Absent | ReadOutcome::Gone => read,
        })
    }

    async fn broken_write(self, mut request: WriteRequest) -> WriteOutcome {
        let key = request.key;
        let before = self.read_sound(&key).await;
        let is_live = matches!(before, ReadOutcome::Found(_));
        request.expiry = self.altered_expiry(&key, request.expiry, &before);
        request.tags = self.altered_tags(&request, &before);
        request.expected = match self.altered_expectation(&request, before).await {
            Ok(expected) => expected,
            Err(refused) => return refused,
        };
        match self.sound.write(request.clone()).await.unwrap() {
            WriteOutcome::Done(version) => {
                self.record_write(&request, version, is_live).await;
                let record = Record::new(request.data, version);
                WriteOutcome::Done(self.shown(&key, record).version)
            }
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(match self.flaw {
                Flaw::StaleConflict => {
                    Record::new(Bytes::from_static(b"stale"), record.version).tags(record.tags)
                }
                Flaw::ConflictWithoutTags => Record::new(record.data, record.version),
                _ => self.shown(&key, record),
            }),
            WriteOutcome::Gone => WriteOutcome::Gone,
        }
    }

    /// Returns the state that this store expects instead of the request's.
    async fn altered_expectation(
        &self,
        request: &WriteRequest,
        stored: ReadOutcome,
    ) -> Result<Expected, WriteOutcome> {
        let (key, expected) = (&request.key, request.expected);
        let last = self.with_data(key, |data| data.last.as_ref().map(|last| last.version));
        Ok(match (self.flaw, expected, stored) {
            (Flaw::ExpectationIgnored, _, ReadOutcome::Found(_)) => Expected::Any,
            (Flaw::KeepIgnoresExpectation, _, _) if request.expiry == Expiry::Keep => Expected::Any,
            (Flaw::VersionCreates, Expected::Version(_), ReadOutcome::Absent) => Expected::Any,
            (Flaw::ExpiredMatches, Expected::Version(v), ReadOutcome::Absent)
                if Some(v) == last =>
            {
                Expected::Any
            }
            (Flaw::CompareThenSet, expected, stored) => {
                compare(expected, stored)?;
                tokio::task::yield_now().await;
                Expected::Any
            }
            (Flaw::CheckThenSet, expected, _) => {
                if self.with_data(key, |data| data.is_destroyed) {
                    return Err(WriteOutcome::Gone);
                }
                tokio::task::yield_now().await;
                expected
            }
            (Flaw::VersionsStartOver, Expected::Version(version), ReadOutcome::Found(_)) => {
                let base = self.with_data(key, |data| data.base);
                Expected::Version(Version::new(version.get().wrapping_add(base)).unwrap())
            }
            _ => expected,
        })
    }

    async fn record_write(&self, request: &WriteRequest, version: Version, was_live: bool) {
        let key = &request.key;
        let now = self.clock.now();
        self.with_data(key, |data| {
            (data.is_destroyed, data.is_touched) = (false, false);
            if let Expiry::After(ttl) = request.expiry {
                data.expires = now.saturating_add(ttl);
                data.written_expires = data.expires;
            }
            let record = Record::new(request.data.clone(), version);
            data.last = Some(record.tags(request.tags.clone()));
            if self.flaw == Flaw::VersionsStartOver && !was_live {
                data.base = version.get() - 1;
            }
        });
        if self.flaw == Flaw::TagsWrittenApart {
            tokio::task::yield_now().await;
        }
        self.with_data(key, |data| data.tags = request.tags.clone());
        self.update_index(request, was_live).await;
    }

    async fn broken_destroy(self, key: StoreKey) {
        let stored = self.read_sound(&key).await;
        let skips = match self.flaw {
            Flaw::NoTombstoneWithoutRecord => !matches!(stored, ReadOutcome::Found(_)),
            Flaw::FirstTombstoneOnly => stored == ReadOutcome::Gone,
            _ => false,
        };
        let removes = matches!(self.flaw, Flaw::NoTombstone | Flaw::CheckThenSet);
        self.with_data(&key, |data| (data.last, data.is_destroyed) = (None, true));
        if removes {
            let nothing = WriteRequest::new(&key, "", Duration::ZERO, Expected::Any);
            self.sound.write(nothing).await.unwrap();
        } else if !skips {
            self.sound.destroy(&key).await.unwrap();
        }
        self.remove_from_index(&key);
    }

    async fn broken_touch(self, key: StoreKey, ttl: Duration) -> bool {
        let ttl = self.ttl(&key, ttl, false);
        let stored = self.read_sound(&key).await;
        let end = self.clock.now().saturating_add(ttl);
        self.with_data(&key, |data| {
            (data.tombstone_ends, data.expires) = (Some(end), end);
            data.is_touched = true;
        });
        let last = self.with_data(&key, |data| data.last.clone());
        let (record, expected) = match (self.flaw, stored, last) {
            (Flaw::TouchWrites, ReadOutcome::Found(record), _) => {
                let expected = Expected::Version(record.version);
                (record, expected)
            }
            (Flaw::TouchWritesBack, ReadOutcome::Found(record), _) => {
                tokio::task::yield_now().await;
                (record, Expected::Any)
            }
            (Flaw::TouchRevives, ReadOutcome::Absent, Some(last)) => (last, Expected::Any),
            _ => return self.sound.touch(&key, ttl).await.unwrap(),
        };
        let request = WriteRequest::new(&key, record.data, ttl, expected).tags(record.tags);
        let written = self.sound.write(request).await;
        matches!(written.unwrap(), WriteOutcome::Done(_))
    }
}

fn compare(expected: Expected, stored: ReadOutcome) -> Result<(), WriteOutcome> {
    match (expected, stored) {
        (_, ReadOutcome::Gone) | (Expected::Version(_), ReadOutcome::Absent) => {
            Err(WriteOutcome::Gone)
        }
        (Expected::Version(version), ReadOutcome::Found(record)) if version != record.version => {
            Err(WriteOutcome::Conflict(record))
        }
        (Expected::Absent, ReadOutcome::Found(record)) => Err(WriteOutcome::Conflict(record)),
        _ => Ok(()),
    }
}

impl Store for BrokenStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let (this, key) = (self.clone(), self.key(key));
        StoreFuture::new(async move { Ok(this.broken_read(key, touch).await) })
    }

    fn write(&self, mut request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let this = self.clone();
        request.key = self.key(&request.key);
        if self.flaw == Flaw::TextOnly {
            request.data = String::from_utf8_lossy(&request.data).into_owned().into();
        }
        StoreFuture::new(async move { Ok(this.broken_write(request).await) })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let (this, key) = (self.clone(), self.key(key));
        StoreFuture::new(async move {
            this.broken_destroy(key).await;
            Ok(())
        })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let (this, key) = (self.clone(), self.key(key));
        StoreFuture::new(async move { Ok(this.broken_touch(key, ttl).await) })
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.sound.capabilities();
        if self.flaw == Flaw::NoCapabilities {
            (capabilities.conditional_writes, capabilities.tombstones) = (false, false);
        }
        capabilities
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        (self.flaw != Flaw::NoCapabilities).then_some(self as &dyn TagStore)
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        (self.flaw != Flaw::NoCapabilities).then_some(self as &dyn ScanStore)
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        self.altered_time_to_live(&self.key(key))
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        if self.flaw == Flaw::CountNeverFalls {
            let keys = self.keys.lock().unwrap().len() as u64;
            return StoreFuture::ready(Ok(Some(keys)));
        }
        self.sound.count()
    }
}
