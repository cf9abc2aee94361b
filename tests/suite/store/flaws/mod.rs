//! Stores that each break one promise, like bugs of real stores. They wrap the memory store.

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
        Capabilities, Expected, MemoryStore, ReadOutcome, Record, Store, StoreFuture, Tag,
        TagStore, Version, WriteOutcome,
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
    TagsStayBehind,
    TagsCopied,
    TagsOutliveSessions,
    WriteDropsTags,
    TagsAnyKey,
    TagsIgnoreCase,
    TagsUnlimited,
    TagsListTwice,
    UntagsEverything,
    TagsWrittenBack,
    TagsForgotten,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The data of a key that the wrapped store does not have.
#[derive(Default)]
struct KeyData {
    last: Option<Record>,
    expires: Timestamp,
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
    own_tags: Arc<Mutex<HashMap<Tag, Vec<StoreKey>>>>,
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
            own_tags: Arc::default(),
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
            Flaw::WriteKeepsExpiry if is_live => {
                self.with_data(key, |data| data.expires.duration_since(self.clock.now()))
            }
            _ => ttl,
        }
    }

    /// Reads from the wrapped store.
    async fn read_sound(&self, key: &StoreKey) -> ReadOutcome {
        self.sound.read(key, None).await.unwrap()
    }

    fn renumber(&self, key: &StoreKey, record: Record) -> Record {
        let number = record.version.get();
        let base = self.with_data(key, |data| data.base);
        let version = Version::new(number.wrapping_sub(base)).unwrap();
        Record::new(record.data, version)
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
            ReadOutcome::Found(record) => ReadOutcome::Found(self.renumber(&key, record)),
            ReadOutcome::Absent | ReadOutcome::Gone => read,
        })
    }

    async fn broken_write(
        self,
        key: StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> WriteOutcome {
        let before = self.read_sound(&key).await;
        let is_live = matches!(before, ReadOutcome::Found(_));
        let ttl = self.ttl(&key, ttl, is_live);
        let expected = match self.altered_expectation(&key, expected, before).await {
            Ok(expected) => expected,
            Err(refused) => return refused,
        };
        let written = self
            .sound
            .write(&key, data.clone(), ttl, expected)
            .await
            .unwrap();
        match written {
            WriteOutcome::Done(version) => {
                self.record_write(&key, Record::new(data, version), ttl, is_live)
                    .await
            }
            WriteOutcome::Conflict(record) if self.flaw == Flaw::StaleConflict => {
                let stale = Bytes::from_static(b"stale");
                WriteOutcome::Conflict(Record::new(stale, record.version))
            }
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(self.renumber(&key, record)),
            WriteOutcome::Gone => WriteOutcome::Gone,
        }
    }

    /// Returns the state that this store expects instead of `expected`.
    async fn altered_expectation(
        &self,
        key: &StoreKey,
        expected: Expected,
        stored: ReadOutcome,
    ) -> Result<Expected, WriteOutcome> {
        let last = self.with_data(key, |data| data.last.as_ref().map(|last| last.version));
        Ok(match (self.flaw, expected, stored) {
            (Flaw::ExpectationIgnored, _, ReadOutcome::Found(_)) => Expected::Any,
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

    async fn record_write(
        &self,
        key: &StoreKey,
        record: Record,
        ttl: Duration,
        was_live: bool,
    ) -> WriteOutcome {
        let number = record.version.get();
        let expires = self.clock.now().saturating_add(ttl);
        self.with_data(key, |data| {
            data.is_destroyed = false;
            data.expires = expires;
            data.last = Some(record.clone());
            if self.flaw == Flaw::VersionsStartOver && !was_live {
                data.base = number - 1;
            }
        });
        if self.flaw == Flaw::WriteDropsTags {
            let tags: Vec<Tag> = self.own_tags.lock().unwrap().keys().cloned().collect();
            for tag in &tags {
                self.sound.untag(key, tag).await.unwrap();
            }
        }
        WriteOutcome::Done(self.renumber(key, record).version)
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
            let nothing = self
                .sound
                .write(&key, Bytes::new(), Duration::ZERO, Expected::Any);
            nothing.await.unwrap();
        } else if !skips {
            self.sound.destroy(&key).await.unwrap();
        }
    }

    async fn broken_touch(self, key: StoreKey, ttl: Duration) -> bool {
        let ttl = self.ttl(&key, ttl, false);
        let stored = self.read_sound(&key).await;
        let end = self.clock.now().saturating_add(ttl);
        self.with_data(&key, |data| {
            (data.tombstone_ends, data.expires) = (Some(end), end)
        });
        let last = self.with_data(&key, |data| data.last.clone());
        let written = match (self.flaw, stored, last) {
            (Flaw::TouchWrites, ReadOutcome::Found(record), _) => {
                let expected = Expected::Version(record.version);
                self.sound.write(&key, record.data, ttl, expected).await
            }
            (Flaw::TouchWritesBack, ReadOutcome::Found(record), _) => {
                tokio::task::yield_now().await;
                self.sound
                    .write(&key, record.data, ttl, Expected::Any)
                    .await
            }
            (Flaw::TouchRevives, ReadOutcome::Absent, Some(last)) => {
                self.sound.write(&key, last.data, ttl, Expected::Any).await
            }
            _ => return self.sound.touch(&key, ttl).await.unwrap(),
        };
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

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let (this, key) = (self.clone(), self.key(key));
        let data = match self.flaw {
            Flaw::TextOnly => String::from_utf8_lossy(&data).into_owned().into(),
            _ => data,
        };
        StoreFuture::new(async move { Ok(this.broken_write(key, data, ttl, expected).await) })
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

    fn count(&self) -> StoreFuture<Option<u64>> {
        if self.flaw == Flaw::CountNeverFalls {
            let keys = self.keys.lock().unwrap().len() as u64;
            return StoreFuture::ready(Ok(Some(keys)));
        }
        self.sound.count()
    }
}
