//! Stores that each break one promise, as stores in the world do: wrappers of the memory store.

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

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    NothingClaimed,
    TextOnly,
    KeyCutShort,
    VersionsStartOver,
    TouchWrites,
    ExpectationIgnored,
    StaleConflict,
    VersionCreates,
    ExpiredMatches,
    NoTombstone,
    NothingNoTombstone,
    EndlessTombstone,
    TouchEndsTombstone,
    FirstTombstoneOnly,
    ExpiredRead,
    TouchRevives,
    ReadTouchesNot,
    ReadAlwaysTouches,
    LifeRounded,
    LifeWraps,
    WriteKeepsExpiry,
    CompareThenSet,
    TouchWritesBack,
    LookThenSet,
    CountNeverFalls,
    TagsStayBehind,
    TagsCopied,
    TagsOutliveSessions,
    WriteDropsTags,
    TagsAnything,
    TagsIgnoreCase,
    TagsUnlimited,
    TagsTwice,
    UntagsAll,
    TagsWrittenBack,
    TagsForgotten,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a broken store remembers of a key beside the sound store below it.
#[derive(Default)]
struct Memory {
    last: Option<Record>,
    expires: Timestamp,
    /// What was taken off the versions of this life, to let them start at one.
    base: u64,
    tombstone_ends: Option<Timestamp>,
    is_destroyed: bool,
}

#[derive(Clone)]
pub(crate) struct Broken {
    flaw: Flaw,
    clock: Clock,
    sound: MemoryStore,
    memory: Arc<Mutex<HashMap<StoreKey, Memory>>>,
    book: Arc<Mutex<HashMap<Tag, Vec<StoreKey>>>>,
}

impl Broken {
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
            memory: Arc::default(),
            book: Arc::default(),
        }
    }

    fn remember<T>(&self, key: &StoreKey, note: impl FnOnce(&mut Memory) -> T) -> T {
        note(self.memory.lock().unwrap().entry(*key).or_default())
    }

    fn key(&self, key: &StoreKey) -> StoreKey {
        let mut bytes = *key.as_bytes();
        if self.flaw == Flaw::KeyCutShort {
            bytes[StoreKey::LEN - 1] = 0;
        }
        StoreKey::from_bytes(bytes)
    }

    fn ttl(&self, key: &StoreKey, ttl: Duration, lives: bool) -> Duration {
        match self.flaw {
            Flaw::LifeRounded => ttl.max(Duration::from_secs(1)),
            Flaw::LifeWraps if i64::try_from(ttl.as_millis()).is_err() => Duration::ZERO,
            Flaw::WriteKeepsExpiry if lives => self.remember(key, |memory| {
                memory.expires.duration_since(self.clock.now())
            }),
            _ => ttl,
        }
    }

    /// The answer of the sound store under this key, taken at once.
    async fn look(&self, key: &StoreKey) -> ReadOutcome {
        self.sound.read(key, None).await.unwrap()
    }

    fn shown(&self, key: &StoreKey, record: Record) -> Record {
        let number = record.version.get();
        let base = self.remember(key, |memory| memory.base);
        let version = Version::new(number.wrapping_sub(base)).unwrap();
        Record::new(record.data, version)
    }

    async fn broken_read(self, key: StoreKey, touch: Option<Duration>) -> ReadOutcome {
        let touch = match self.flaw {
            Flaw::ReadTouchesNot => None,
            Flaw::ReadAlwaysTouches => touch.or(Some(DAY)),
            _ => touch.map(|ttl| self.ttl(&key, ttl, false)),
        };
        let read = self.sound.read(&key, touch).await.unwrap();
        let now = self.clock.now();
        self.remember(&key, |memory| match (self.flaw, &read) {
            (Flaw::ExpiredRead, ReadOutcome::Absent) => memory.last.clone().map(ReadOutcome::Found),
            (Flaw::LookThenSet, _) if memory.is_destroyed => Some(ReadOutcome::Gone),
            (Flaw::TouchEndsTombstone, ReadOutcome::Gone) => memory
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

    async fn broken_write(
        self,
        key: StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> WriteOutcome {
        let before = self.look(&key).await;
        let lives = matches!(before, ReadOutcome::Found(_));
        let ttl = self.ttl(&key, ttl, lives);
        let expected = match self.bend(&key, expected, before).await {
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
                self.done(&key, Record::new(data, version), ttl, lives)
                    .await
            }
            WriteOutcome::Conflict(record) if self.flaw == Flaw::StaleConflict => {
                let stale = Bytes::from_static(b"stale");
                WriteOutcome::Conflict(Record::new(stale, record.version))
            }
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(self.shown(&key, record)),
            WriteOutcome::Gone => WriteOutcome::Gone,
        }
    }

    /// What this store expects where it should expect `expected`.
    async fn bend(
        &self,
        key: &StoreKey,
        expected: Expected,
        is: ReadOutcome,
    ) -> Result<Expected, WriteOutcome> {
        let last = self.remember(key, |memory| memory.last.as_ref().map(|last| last.version));
        Ok(match (self.flaw, expected, is) {
            (Flaw::ExpectationIgnored, _, ReadOutcome::Found(_)) => Expected::Any,
            (Flaw::VersionCreates, Expected::Version(_), ReadOutcome::Absent) => Expected::Any,
            (Flaw::ExpiredMatches, Expected::Version(v), ReadOutcome::Absent)
                if Some(v) == last =>
            {
                Expected::Any
            }
            (Flaw::CompareThenSet, expected, is) => {
                compare(expected, is)?;
                tokio::task::yield_now().await;
                Expected::Any
            }
            (Flaw::LookThenSet, expected, _) => {
                if self.remember(key, |memory| memory.is_destroyed) {
                    return Err(WriteOutcome::Gone);
                }
                tokio::task::yield_now().await;
                expected
            }
            (Flaw::VersionsStartOver, Expected::Version(shown), ReadOutcome::Found(_)) => {
                let base = self.remember(key, |memory| memory.base);
                Expected::Version(Version::new(shown.get().wrapping_add(base)).unwrap())
            }
            _ => expected,
        })
    }

    async fn done(
        &self,
        key: &StoreKey,
        record: Record,
        ttl: Duration,
        lived: bool,
    ) -> WriteOutcome {
        let number = record.version.get();
        let expires = self.clock.now().saturating_add(ttl);
        self.remember(key, |memory| {
            memory.is_destroyed = false;
            memory.expires = expires;
            memory.last = Some(record.clone());
            if self.flaw == Flaw::VersionsStartOver && !lived {
                memory.base = number - 1;
            }
        });
        if self.flaw == Flaw::WriteDropsTags {
            let tags: Vec<Tag> = self.book.lock().unwrap().keys().cloned().collect();
            for tag in &tags {
                self.sound.untag(key, tag).await.unwrap();
            }
        }
        WriteOutcome::Done(self.shown(key, record).version)
    }

    async fn broken_destroy(self, key: StoreKey) {
        let is = self.look(&key).await;
        let skips = match self.flaw {
            Flaw::NothingNoTombstone => !matches!(is, ReadOutcome::Found(_)),
            Flaw::FirstTombstoneOnly => is == ReadOutcome::Gone,
            _ => false,
        };
        let removes = matches!(self.flaw, Flaw::NoTombstone | Flaw::LookThenSet);
        self.remember(&key, |memory| {
            (memory.last, memory.is_destroyed) = (None, true)
        });
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
        let is = self.look(&key).await;
        let end = self.clock.now().saturating_add(ttl);
        self.remember(&key, |memory| {
            (memory.tombstone_ends, memory.expires) = (Some(end), end)
        });
        let last = self.remember(&key, |memory| memory.last.clone());
        let written = match (self.flaw, is, last) {
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

fn compare(expected: Expected, is: ReadOutcome) -> Result<(), WriteOutcome> {
    match (expected, is) {
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

impl Store for Broken {
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
        let mut claimed = self.sound.capabilities();
        if self.flaw == Flaw::NothingClaimed {
            (claimed.conditional_writes, claimed.tombstones) = (false, false);
        }
        claimed
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        (self.flaw != Flaw::NothingClaimed).then_some(self as &dyn TagStore)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        if self.flaw == Flaw::CountNeverFalls {
            let keys = self.memory.lock().unwrap().len() as u64;
            return StoreFuture::ready(Ok(Some(keys)));
        }
        self.sound.count()
    }
}
