//! One request's session on its way from the cookie to the server.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Record, RequestStore, Store, StoreError, Tag, Version, WriteOutcome,
        migrating::{
            error::MigratingError,
            mark::{self, Held},
            versions::{Place, new, new_record, old, old_record},
        },
    },
};

pub(super) type Answer<T> = Result<T, StoreError>;

/// How long an announcement stands: longer than the longest request.
const ANNOUNCED: Duration = Duration::from_secs(60);

pub(super) struct Leaving {
    pub(super) old: Arc<dyn RequestStore>,
    pub(super) new: Arc<dyn Store>,
    /// Tags that this request has put on (`true`) or taken off a session that was in its cookie:
    /// should another request be faster to bring it over, they have to follow.
    pending: Mutex<Vec<(Tag, bool)>>,
    /// Whether this request's session is kept at the server: sessions move, or this one has moved.
    at_server: AtomicBool,
}

/// What the new store knows of a key.
pub(super) enum Known {
    Session(Record),
    /// The session is about to come.
    Announced(Version),
    Nothing,
    Gone,
}

impl Known {
    pub(super) fn of(read: ReadOutcome) -> Answer<Self> {
        let record = match read {
            ReadOutcome::Found(record) => new_record(record)?,
            ReadOutcome::Absent => return Ok(Self::Nothing),
            ReadOutcome::Gone => return Ok(Self::Gone),
        };
        match Held::new(record)? {
            Held::Session(record) => Ok(Self::Session(record)),
            Held::Reserved(version) => Ok(Self::Announced(version)),
            Held::Moving(_) | Held::Elsewhere => Err(MigratingError::Mark.into()),
        }
    }
}

impl Leaving {
    pub(super) fn new(old: Arc<dyn RequestStore>, new: Arc<dyn Store>, moves: bool) -> Self {
        Self {
            old,
            new,
            pending: Mutex::default(),
            at_server: moves.into(),
        }
    }

    pub(super) fn is_at_server(&self) -> bool {
        self.at_server.load(Ordering::Acquire)
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Vec<(Tag, bool)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn known(&self, key: &StoreKey, touch: Option<Duration>) -> Answer<Known> {
        Known::of(self.new.read(key, touch).await?)
    }

    pub(super) async fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> Answer<ReadOutcome> {
        loop {
            if let Some(read) = self.read_new(key, touch).await? {
                return Ok(read);
            }
            let (stays, moves) = match self.is_at_server() {
                true => (None, touch),
                false => (touch, None),
            };
            match (self.old.read(key, stays).await?, moves) {
                (ReadOutcome::Found(record), None) => {
                    return Ok(ReadOutcome::Found(old_record(record)?));
                }
                // A renewal takes a session along that is never written on.
                (ReadOutcome::Found(record), Some(ttl)) => {
                    self.carry(key, record.data, ttl).await?;
                }
                // Another request may have brought it over meanwhile, and revoked the cookie.
                (ended, _) => return Ok(self.read_new(key, touch).await?.unwrap_or(ended)),
            }
        }
    }

    /// The new store's answer; `None` where the session is in its cookie, if anywhere.
    async fn read_new(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> Answer<Option<ReadOutcome>> {
        let read = match self.known(key, touch).await? {
            Known::Session(record) => {
                self.at_server.store(true, Ordering::Release);
                ReadOutcome::Found(record)
            }
            Known::Gone => ReadOutcome::Gone,
            Known::Announced(_) | Known::Nothing => return Ok(None),
        };
        self.let_go(key).await?;
        Ok(Some(read))
    }

    /// The cookie is of no use any more, if there is one.
    async fn let_go(&self, key: &StoreKey) -> Answer<()> {
        match self.old.contains(key) {
            true => self.old.destroy(key).await,
            false => Ok(()),
        }
    }

    pub(super) async fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Answer<WriteOutcome> {
        match expected {
            Expected::Version(version) => self.replace(key, data, ttl, version).await,
            Expected::Absent => self.create(key, data, ttl).await,
            Expected::Any => self.put(key, data, ttl).await,
        }
    }

    /// Replaces whatever is there: what is read, if it is still there when it is written on.
    async fn put(&self, key: &StoreKey, data: Bytes, ttl: Duration) -> Answer<WriteOutcome> {
        loop {
            let written = match self.read(key, None).await? {
                ReadOutcome::Found(record) => {
                    self.replace(key, data.clone(), ttl, record.version).await?
                }
                ReadOutcome::Absent => self.create(key, data.clone(), ttl).await?,
                ReadOutcome::Gone => return Ok(WriteOutcome::Gone),
            };
            if let WriteOutcome::Done(_) = written {
                return Ok(written);
            }
        }
    }

    async fn replace(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        version: Version,
    ) -> Answer<WriteOutcome> {
        let version = match Place::of(version) {
            Place::New(version) => version,
            Place::Old(_) if self.is_at_server() => return self.carry(key, data, ttl).await,
            Place::Old(version) => {
                let expected = Expected::Version(version);
                return self.stay(key, data, ttl, expected).await;
            }
        };
        let expected = Expected::Version(version);
        Ok(match self.new.write(key, data, ttl, expected).await? {
            WriteOutcome::Done(version) => WriteOutcome::Done(new(version)?),
            WriteOutcome::Gone => WriteOutcome::Gone,
            WriteOutcome::Conflict(record) => match Known::of(ReadOutcome::Found(record))? {
                Known::Session(record) => WriteOutcome::Conflict(record),
                Known::Announced(_) | Known::Nothing | Known::Gone => WriteOutcome::Gone,
            },
        })
    }

    async fn create(&self, key: &StoreKey, data: Bytes, ttl: Duration) -> Answer<WriteOutcome> {
        if self.old.contains(key) {
            match self.read(key, None).await? {
                ReadOutcome::Found(record) => return Ok(WriteOutcome::Conflict(record)),
                ReadOutcome::Gone => return Ok(WriteOutcome::Gone),
                ReadOutcome::Absent => {}
            }
        }
        let mut expected = Expected::Absent;
        if !self.is_at_server() {
            return self.stay(key, data, ttl, expected).await;
        }
        loop {
            expected = match self.new.write(key, data.clone(), ttl, expected).await? {
                WriteOutcome::Done(version) => return Ok(WriteOutcome::Done(new(version)?)),
                WriteOutcome::Conflict(record) => match Known::of(ReadOutcome::Found(record))? {
                    Known::Announced(version) => Expected::Version(version),
                    Known::Session(record) => return Ok(WriteOutcome::Conflict(record)),
                    Known::Nothing | Known::Gone => return Ok(WriteOutcome::Gone),
                },
                WriteOutcome::Gone if expected == Expected::Absent => {
                    return Ok(WriteOutcome::Gone);
                }
                // The announcement went away, and what took its place is not known.
                WriteOutcome::Gone => Expected::Absent,
            };
        }
    }

    /// Brings the session over with this data, unless it has come or ended already.
    async fn carry(&self, key: &StoreKey, data: Bytes, ttl: Duration) -> Answer<WriteOutcome> {
        let tags = self.old_tags(key).await?;
        let mut expected = Expected::Absent;
        let mut tagged = tags.is_empty();
        loop {
            let (sent, life) = match tagged {
                true => (data.clone(), ttl),
                false => (mark::reserved(), ANNOUNCED),
            };
            if tagged && !matches!(self.old.read(key, None).await?, ReadOutcome::Found(_)) {
                return self.refuse(key).await;
            }
            match self.new.write(key, sent, life, expected).await? {
                WriteOutcome::Done(version) if tagged => {
                    self.pending().clear();
                    self.let_go(key).await?;
                    return Ok(WriteOutcome::Done(new(version)?));
                }
                WriteOutcome::Done(version) => {
                    expected = Expected::Version(version);
                    tagged = self.give(key, &tags).await?;
                }
                WriteOutcome::Conflict(record) => match Known::of(ReadOutcome::Found(record))? {
                    Known::Announced(version) => {
                        expected = Expected::Version(version);
                        tagged = self.give(key, &tags).await?;
                    }
                    Known::Session(record) => return self.outrun(key, record).await,
                    Known::Nothing | Known::Gone => return Ok(WriteOutcome::Gone),
                },
                WriteOutcome::Gone if expected == Expected::Absent => {
                    self.let_go(key).await?;
                    return Ok(WriteOutcome::Gone);
                }
                WriteOutcome::Gone => (expected, tagged) = (Expected::Absent, tags.is_empty()),
            }
        }
    }

    /// Writes into the cookie, unless the session has moved or ended.
    async fn stay(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Answer<WriteOutcome> {
        match self.known(key, None).await? {
            Known::Session(record) => return self.outrun(key, record).await,
            Known::Gone => {
                self.let_go(key).await?;
                return Ok(WriteOutcome::Gone);
            }
            Known::Announced(_) | Known::Nothing => {}
        }
        Ok(match self.old.write(key, data, ttl, expected).await? {
            WriteOutcome::Done(version) => WriteOutcome::Done(old(version)?),
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(old_record(record)?),
            WriteOutcome::Gone => WriteOutcome::Gone,
        })
    }

    /// The cookie is not good any more: it was revoked, or has expired while this request ran.
    async fn refuse(&self, key: &StoreKey) -> Answer<WriteOutcome> {
        if let Known::Session(record) = self.known(key, None).await? {
            return self.outrun(key, record).await;
        }
        self.let_go(key).await?;
        Ok(WriteOutcome::Gone)
    }

    /// Another request has brought the session over.
    async fn outrun(&self, key: &StoreKey, record: Record) -> Answer<WriteOutcome> {
        self.at_server.store(true, Ordering::Release);
        let pending = std::mem::take(&mut *self.pending());
        if let Some(new) = self.new.tags() {
            for (tag, add) in pending {
                match add {
                    true => drop(new.tag(key, &tag).await?),
                    false => new.untag(key, &tag).await?,
                }
            }
        }
        self.let_go(key).await?;
        Ok(WriteOutcome::Conflict(record))
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> Answer<()> {
        self.new.destroy(key).await?;
        self.old.destroy(key).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> Answer<bool> {
        // An announcement may be touched as well, so that a touch alone says nothing of a session
        // that is in its cookie.
        let moved = !self.old.contains(key) && self.new.touch(key, ttl).await?;
        Ok(moved || matches!(self.read(key, Some(ttl)).await?, ReadOutcome::Found(_)))
    }
}
