//! The two stores, and how a session gets from the one to the other.
//!
//! What has to hold, whoever stops in the middle:
//!
//! 1. A session is live in the old store or in the new one, never in both. While it is in the old
//!    one, what happens to it is decided there.
//! 2. It leaves the old store by one conditional write, which puts the session itself, marked as
//!    [`Moving`], in the place of the version that was read. From then on nobody writes on it
//!    there, so whoever meets the mark may publish it in the new store. The session there is that
//!    one, or what has become of it. One that has tags is published marked as [`Moving`] too, and
//!    whoever meets that completes it.
//! 3. A new session is announced in the old store first, so that none comes into being there at
//!    the same time.
//! 4. It is destroyed in the new store first. Nobody answers that it is gone before it is
//!    destroyed in the old one as well.
//!
//! What is left in the old store of a session that has moved is a mark for [`FENCE`]: whoever
//! knows the old store alone, and began before, finds it and cannot write.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    error::MigratingError,
    mark::{self, Held, Moving},
    versions::{Place, new, new_record, old, old_record},
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Store, StoreError, Tag, Version, WriteOutcome},
};

type Answer<T> = Result<T, StoreError>;

/// How long a mark stands in the old store: longer than the longest request.
const FENCE: Duration = Duration::from_secs(60);

/// A record of the new store that ends sooner than this may end before the mark that a stopped move
/// has left of it in the old store, and so is looked after. Such a one is what a session leaves
/// behind that goes on under another id. (Any other lives from its last write or renewal on for as
/// long as the mark did from an earlier one.)
const SOON: Duration = Duration::from_secs(10 * 60);

pub(super) struct Pair {
    pub(super) old: Arc<dyn Store>,
    pub(super) new: Arc<dyn Store>,
    /// Whether sessions move. Otherwise they stay where they are and are created in the old store.
    pub(super) moves: bool,
}

impl Pair {
    pub(super) async fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> Answer<ReadOutcome> {
        loop {
            if let Some(read) = self.read_new(key, touch).await? {
                return Ok(read);
            }
            let read = match self.old.read(key, touch.filter(|_| !self.moves)).await? {
                ReadOutcome::Found(record) => Held::new(record)?,
                ended => return Ok(self.read_new(key, touch).await?.unwrap_or(ended)),
            };
            match (read, touch.filter(|_| self.moves)) {
                (Held::Session(record), None) => {
                    return Ok(ReadOutcome::Found(old_record(record)?));
                }
                (Held::Session(record), Some(ttl)) => {
                    // A renewal takes a session along that is never written on.
                    self.carry(key, record.data, ttl, record.version).await?;
                }
                (Held::Moving(moving), _) => {
                    self.publish(key, moving).await?;
                }
                (Held::Elsewhere | Held::Reserved(_), _) => {
                    let read = self.read_new(key, touch).await?;
                    return Ok(read.unwrap_or(ReadOutcome::Absent));
                }
            }
        }
    }

    /// What the new store knows of the session; `None` where it knows nothing.
    async fn read_new(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> Answer<Option<ReadOutcome>> {
        loop {
            let record = match self.new.read(key, touch).await? {
                ReadOutcome::Found(record) => new_record(record)?,
                ReadOutcome::Absent => return Ok(None),
                ReadOutcome::Gone => {
                    // Whoever destroyed it may have stopped half way.
                    if let ReadOutcome::Found(_) = self.old.read(key, None).await? {
                        self.old.destroy(key).await?;
                    }
                    return Ok(Some(ReadOutcome::Gone));
                }
            };
            match Held::new(record)? {
                Held::Moving(moving) => self.complete(key, moving).await?,
                Held::Session(record) => return Ok(Some(ReadOutcome::Found(record))),
                Held::Elsewhere | Held::Reserved(_) => return Err(MigratingError::Mark.into()),
            };
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
        let done = match Place::of(version) {
            Place::New(version) => {
                if ttl < SOON {
                    self.finish(key).await?;
                }
                let expected = Expected::Version(version);
                return self.write_new(key, data, ttl, expected).await;
            }
            Place::Old(version) if self.moves => self.carry(key, data, ttl, version).await?,
            Place::Old(version) => {
                let expected = Expected::Version(version);
                match self.old.write(key, data, ttl, expected).await? {
                    WriteOutcome::Done(version) => Some(WriteOutcome::Done(old(version)?)),
                    _ => None,
                }
            }
        };
        match done {
            Some(written) => Ok(written),
            None => self.refuse(key).await,
        }
    }

    /// The answer to a write whose expected version is not there any more.
    async fn refuse(&self, key: &StoreKey) -> Answer<WriteOutcome> {
        Ok(match self.read(key, None).await? {
            ReadOutcome::Found(record) => WriteOutcome::Conflict(record),
            ReadOutcome::Absent | ReadOutcome::Gone => WriteOutcome::Gone,
        })
    }

    async fn create(&self, key: &StoreKey, data: Bytes, ttl: Duration) -> Answer<WriteOutcome> {
        let mut expected = Expected::Absent;
        loop {
            let (sign, stands) = match self.moves {
                true => (mark::elsewhere(), ttl.min(FENCE)),
                false => (mark::reserved(), FENCE),
            };
            let announced = self.old.write(key, sign, stands, expected).await?;
            let version = match announced {
                WriteOutcome::Done(_) if self.moves => {
                    return self.write_new(key, data, ttl, Expected::Absent).await;
                }
                WriteOutcome::Done(version) => version,
                WriteOutcome::Conflict(record) => match Held::new(record)? {
                    Held::Session(record) => {
                        return Ok(WriteOutcome::Conflict(old_record(record)?));
                    }
                    Held::Elsewhere => {
                        return self.write_new(key, data, ttl, Expected::Absent).await;
                    }
                    Held::Reserved(version) if self.moves => {
                        expected = Expected::Version(version);
                        continue;
                    }
                    // Others' mark serves as well. If each put its own in the place of the other's,
                    // two could go on for ever.
                    Held::Reserved(version) => version,
                    Held::Moving(moving) => {
                        self.publish(key, moving).await?;
                        expected = Expected::Absent;
                        continue;
                    }
                },
                WriteOutcome::Gone if expected == Expected::Absent => {
                    return self.refuse(key).await;
                }
                // What was to be replaced has ended.
                WriteOutcome::Gone => {
                    expected = Expected::Absent;
                    continue;
                }
            };
            if let Some(written) = self.create_old(key, data.clone(), ttl, version).await? {
                return Ok(written);
            }
            expected = Expected::Absent;
        }
    }

    /// Creates the session in the old store, where it is announced by the mark of this version;
    /// `None` where somebody else was faster.
    async fn create_old(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        announced: Version,
    ) -> Answer<Option<WriteOutcome>> {
        let announced = Expected::Version(announced);
        let standing = match self.read_new(key, None).await? {
            None => return self.write_announced(key, data, ttl, announced).await,
            Some(ReadOutcome::Found(record)) => WriteOutcome::Conflict(record),
            Some(_) => WriteOutcome::Gone,
        };
        let sign = mark::elsewhere();
        self.old.write(key, sign, ttl.min(FENCE), announced).await?;
        Ok(Some(standing))
    }

    async fn write_announced(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        announced: Expected,
    ) -> Answer<Option<WriteOutcome>> {
        Ok(match self.old.write(key, data, ttl, announced).await? {
            WriteOutcome::Done(version) => Some(WriteOutcome::Done(old(version)?)),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => None,
        })
    }

    async fn write_new(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Answer<WriteOutcome> {
        Ok(match self.new.write(key, data, ttl, expected).await? {
            WriteOutcome::Done(version) => WriteOutcome::Done(new(version)?),
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(new_record(record)?),
            WriteOutcome::Gone => WriteOutcome::Gone,
        })
    }

    /// Writes on the old store's `version`, and takes the session to the new store; `None` where
    /// that version is not there any more.
    async fn carry(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        version: Version,
    ) -> Answer<Option<WriteOutcome>> {
        let marked = mark::moving(&data, ttl);
        let expected = Expected::Version(version);
        match self.old.write(key, marked, ttl, expected).await? {
            WriteOutcome::Done(version) => {
                let moving = Moving { data, ttl, version };
                self.publish(key, moving).await.map(Some)
            }
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => Ok(None),
        }
    }

    /// Brings what is marked as moving to the new store. The answer is that of the write that
    /// marked it. Several may do this at once, and anyone after one who stopped half way.
    async fn publish(&self, key: &StoreKey, moving: Moving) -> Answer<WriteOutcome> {
        let Moving { data, ttl, version } = moving;
        // What has tags is not seen in the new store before it has them there: nobody escapes a
        // log-out by what stops half way.
        let tagged = !self.old_tags(key).await?.is_empty();
        let first = match tagged {
            true => mark::moving(&data, ttl),
            false => data.clone(),
        };
        let published = match self.write_new(key, first, ttl, Expected::Absent).await? {
            WriteOutcome::Done(version) if tagged => {
                let data = data.clone();
                let moving = Moving { data, ttl, version };
                self.complete(key, moving).await?
            }
            WriteOutcome::Conflict(record) => match Held::new(record)? {
                Held::Moving(moving) => self.complete(key, moving).await?,
                Held::Session(record) => WriteOutcome::Conflict(record),
                Held::Elsewhere | Held::Reserved(_) => return Err(MigratingError::Mark.into()),
            },
            done_or_gone => done_or_gone,
        };
        if published == WriteOutcome::Gone {
            self.old.destroy(key).await?;
            return Ok(WriteOutcome::Gone);
        }
        self.carry_tags(key).await?;
        let (sign, expected) = (mark::elsewhere(), Expected::Version(version));
        self.old.write(key, sign, ttl.min(FENCE), expected).await?;
        Ok(match published {
            WriteOutcome::Conflict(record) if record.data == data => {
                WriteOutcome::Done(record.version)
            }
            // Another has published it, and somebody has written on it since.
            WriteOutcome::Conflict(_) => WriteOutcome::Done(old(version)?),
            done => done,
        })
    }

    /// Finishes a move that stopped when the session was in the new store already, so that nothing
    /// is left of it that could be published again.
    async fn finish(&self, key: &StoreKey) -> Answer<()> {
        if let ReadOutcome::Found(record) = self.old.read(key, None).await?
            && let Held::Moving(moving) = Held::new(record)?
        {
            self.publish(key, moving).await?;
        }
        Ok(())
    }

    /// Puts the session in the place of the mark in the new store, once its tags are there.
    async fn complete(&self, key: &StoreKey, moving: Moving) -> Answer<WriteOutcome> {
        let Moving { data, ttl, version } = moving;
        self.carry_tags(key).await?;
        let expected = Expected::Version(version);
        self.write_new(key, data, ttl, expected).await
    }

    async fn carry_tags(&self, key: &StoreKey) -> Answer<()> {
        for tag in self.old_tags(key).await? {
            if let Some(new) = self.new.tags() {
                new.tag(key, &tag).await?;
            }
        }
        Ok(())
    }

    async fn old_tags(&self, key: &StoreKey) -> Answer<Vec<Tag>> {
        match self.old.tags() {
            Some(old) => old.tags_of(key).await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> Answer<()> {
        self.new.destroy(key).await?;
        self.old.destroy(key).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> Answer<bool> {
        Ok(self.new.touch(key, ttl).await?
            || matches!(self.read(key, Some(ttl)).await?, ReadOutcome::Found(_)))
    }

    /// Whether the session lives in the old store, or is only just leaving it.
    pub(super) async fn is_old(&self, key: &StoreKey) -> Answer<bool> {
        Ok(match self.old.read(key, None).await? {
            ReadOutcome::Found(record) => {
                matches!(Held::new(record)?, Held::Session(_) | Held::Moving(_))
            }
            ReadOutcome::Absent | ReadOutcome::Gone => false,
        })
    }
}
