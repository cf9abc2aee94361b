//! The old and the new store, and the migration of a session between them.
//!
//! Any machine may stop after any step. The next caller that reads its marker continues. The steps
//! and the invariant of each:
//!
//! **Migrate** a session, with a write on version `v` of the old store:
//!
//! 1. Replace version `v` in the old store with a migrating marker, which contains the new data.
//!    *From here on, nothing changes the session in the old store. It is published as it is, or
//!    destroyed.*
//! 2. Create the session in the new store. If it has tags, create a migrating marker there, copy the
//!    tags, and replace the marker with the session. *Only one caller creates it. A record in the new
//!    store is this session or a later version of it. A session with tags is not visible in the new
//!    store before its tags are, so that a logout everywhere finds it.*
//! 3. Copy the tags that were added to the old store meanwhile.
//! 4. Replace the marker in the old store with an in-new-store marker for [`MARKER_TTL`]. *A machine
//!    that knows only the old store and read the session before cannot write it.*
//!
//! **Create** a session in the new store:
//!
//! 1. Create an in-new-store marker in the old store. *No machine creates the session there
//!    meanwhile.*
//! 2. Create the session in the new store.
//!
//! **Create** a session in the old store, on a prepared machine:
//!
//! 1. Create a reserved marker in the old store, or use the one that exists.
//! 2. Check that the new store has no record.
//! 3. Replace the marker with the session. *This fails if a machine that migrates has replaced the
//!    marker, to create the session in the new store.*
//!
//! **Destroy** a session:
//!
//! 1. Destroy it in the new store. *A migration in progress cannot publish it.*
//! 2. Destroy it in the old store. *No read reports it as gone before this step. A read that finds
//!    only step 1 performs step 2.*
//!
//! At all times, a session is live in one store only. While it is live in the old store, the old store
//! decides every write on it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    error::{MigratingError, MigratingResult},
    marker::{self, MigratingSession, MigrationRecord},
    versions::{StoreSide, from_new, from_new_record, from_old, from_old_record},
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Store, Tag, Version, WriteOutcome},
};

/// Time to live of a marker in the old store: longer than the longest request.
const MARKER_TTL: Duration = Duration::from_secs(60);

/// Records of the new store with a shorter time to live complete an unfinished migration first.
///
/// Such a record may expire before the migrating marker in the old store, which would then publish
/// the session again. A regenerated session leaves such a record under its old id. Any other
/// record expires after the marker, because it was written or renewed later with the same time to live.
const SHORT_TTL: Duration = Duration::from_secs(10 * 60);

/// The old and the new store of a migration.
pub(super) struct StorePair {
    pub(super) old: Arc<dyn Store>,
    pub(super) new: Arc<dyn Store>,
    /// Sessions migrate to the new store. If `false`, sessions stay in their store, and new sessions
    /// are created in the old store.
    pub(super) migrates: bool,
}

impl StorePair {
    pub(super) async fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> MigratingResult<ReadOutcome> {
        loop {
            if let Some(read) = self.read_new(key, touch).await? {
                return Ok(read);
            }
            let touch_old = touch.filter(|_| !self.migrates);
            let record = match self.old.read(key, touch_old).await? {
                ReadOutcome::Found(record) => MigrationRecord::decode(record)?,
                // Another machine may have migrated the session between the two reads.
                absent_or_gone => {
                    let read = self.read_new(key, touch).await?;
                    return Ok(read.unwrap_or(absent_or_gone));
                }
            };
            match (record, touch.filter(|_| self.migrates)) {
                (MigrationRecord::Session(record), None) => {
                    return Ok(ReadOutcome::Found(from_old_record(record)?));
                }
                (MigrationRecord::Session(record), Some(ttl)) => {
                    // A renewal migrates sessions that are never written.
                    self.migrate(key, record.data, ttl, record.version).await?;
                }
                (MigrationRecord::Migrating(session), _) => {
                    self.publish(key, session).await?;
                }
                (MigrationRecord::InNewStore | MigrationRecord::Reserved(_), _) => {
                    let read = self.read_new(key, touch).await?;
                    return Ok(read.unwrap_or(ReadOutcome::Absent));
                }
            }
        }
    }

    /// Reads the new store. Returns `None` if it has neither a record nor a tombstone.
    async fn read_new(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> MigratingResult<Option<ReadOutcome>> {
        loop {
            let record = match self.new.read(key, touch).await? {
                ReadOutcome::Found(record) => from_new_record(record)?,
                ReadOutcome::Absent => return Ok(None),
                ReadOutcome::Gone => {
                    // The destroying machine may have stopped before the old store.
                    if let ReadOutcome::Found(_) = self.old.read(key, None).await? {
                        self.old.destroy(key).await?;
                    }
                    return Ok(Some(ReadOutcome::Gone));
                }
            };
            match MigrationRecord::decode(record)? {
                MigrationRecord::Migrating(session) => self.complete(key, session).await?,
                MigrationRecord::Session(record) => return Ok(Some(ReadOutcome::Found(record))),
                MigrationRecord::InNewStore | MigrationRecord::Reserved(_) => {
                    return Err(MigratingError::Marker.into());
                }
            };
        }
    }

    pub(super) async fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> MigratingResult<WriteOutcome> {
        match expected {
            Expected::Version(version) => self.replace(key, data, ttl, version).await,
            Expected::Absent => self.create(key, data, ttl).await,
            Expected::Any => self.overwrite(key, data, ttl).await,
        }
    }

    /// Writes without an expected version: reads the current one, and retries if it changes.
    async fn overwrite(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
    ) -> MigratingResult<WriteOutcome> {
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
    ) -> MigratingResult<WriteOutcome> {
        let outcome = match StoreSide::from_version(version) {
            StoreSide::New(version) => {
                if ttl < SHORT_TTL {
                    self.finish_migration(key).await?;
                }
                let expected = Expected::Version(version);
                return self.write_new(key, data, ttl, expected).await;
            }
            StoreSide::Old(version) if self.migrates => {
                self.migrate(key, data, ttl, version).await?
            }
            StoreSide::Old(version) => {
                let expected = Expected::Version(version);
                match self.old.write(key, data, ttl, expected).await? {
                    WriteOutcome::Done(version) => Some(WriteOutcome::Done(from_old(version)?)),
                    _ => None,
                }
            }
        };
        match outcome {
            Some(written) => Ok(written),
            None => self.conflict_or_gone(key).await,
        }
    }

    /// Returns the outcome of a write whose expected version is outdated.
    async fn conflict_or_gone(&self, key: &StoreKey) -> MigratingResult<WriteOutcome> {
        Ok(match self.read(key, None).await? {
            ReadOutcome::Found(record) => WriteOutcome::Conflict(record),
            ReadOutcome::Absent | ReadOutcome::Gone => WriteOutcome::Gone,
        })
    }

    async fn create(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
    ) -> MigratingResult<WriteOutcome> {
        let mut expected = Expected::Absent;
        loop {
            let (marker, marker_ttl) = match self.migrates {
                true => (marker::in_new_store_marker(), ttl.min(MARKER_TTL)),
                false => (marker::reserved_marker(), MARKER_TTL),
            };
            let marked = self.old.write(key, marker, marker_ttl, expected).await?;
            let version = match marked {
                WriteOutcome::Done(_) if self.migrates => {
                    return self.write_new(key, data, ttl, Expected::Absent).await;
                }
                WriteOutcome::Done(version) => version,
                WriteOutcome::Conflict(record) => match MigrationRecord::decode(record)? {
                    MigrationRecord::Session(record) => {
                        return Ok(WriteOutcome::Conflict(from_old_record(record)?));
                    }
                    MigrationRecord::InNewStore => {
                        return self.write_new(key, data, ttl, Expected::Absent).await;
                    }
                    MigrationRecord::Reserved(version) if self.migrates => {
                        expected = Expected::Version(version);
                        continue;
                    }
                    // Use the other machine's marker. If each replaced the marker of the other, both
                    // could repeat this without end.
                    MigrationRecord::Reserved(version) => version,
                    MigrationRecord::Migrating(session) => {
                        self.publish(key, session).await?;
                        expected = Expected::Absent;
                        continue;
                    }
                },
                WriteOutcome::Gone if expected == Expected::Absent => {
                    return self.conflict_or_gone(key).await;
                }
                // The reserved marker has expired, or the session was destroyed.
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

    /// Creates the session in the old store, in place of the reserved marker of this version.
    ///
    /// Returns `None` if the marker has changed.
    async fn create_old(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        reserved: Version,
    ) -> MigratingResult<Option<WriteOutcome>> {
        let expected = Expected::Version(reserved);
        let outcome = match self.read_new(key, None).await? {
            None => {
                return Ok(match self.old.write(key, data, ttl, expected).await? {
                    WriteOutcome::Done(version) => Some(WriteOutcome::Done(from_old(version)?)),
                    WriteOutcome::Conflict(_) | WriteOutcome::Gone => None,
                });
            }
            Some(ReadOutcome::Found(record)) => WriteOutcome::Conflict(record),
            Some(_) => WriteOutcome::Gone,
        };
        let (marker, marker_ttl) = (marker::in_new_store_marker(), ttl.min(MARKER_TTL));
        self.old.write(key, marker, marker_ttl, expected).await?;
        Ok(Some(outcome))
    }

    async fn write_new(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> MigratingResult<WriteOutcome> {
        Ok(match self.new.write(key, data, ttl, expected).await? {
            WriteOutcome::Done(version) => WriteOutcome::Done(from_new(version)?),
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(from_new_record(record)?),
            WriteOutcome::Gone => WriteOutcome::Gone,
        })
    }

    /// Writes on `version` of the old store and migrates the session.
    ///
    /// Returns `None` if that version is outdated.
    async fn migrate(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        version: Version,
    ) -> MigratingResult<Option<WriteOutcome>> {
        let marker = marker::migrating_marker(&data, ttl);
        let expected = Expected::Version(version);
        match self.old.write(key, marker, ttl, expected).await? {
            WriteOutcome::Done(version) => {
                let session = MigratingSession { data, ttl, version };
                self.publish(key, session).await.map(Some)
            }
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => Ok(None),
        }
    }

    /// Moves a migrating session to the new store: steps 2 to 4 of a migration.
    ///
    /// Returns the outcome of the write that created the marker. Several callers may publish the same
    /// session at once, or after one has stopped.
    async fn publish(
        &self,
        key: &StoreKey,
        session: MigratingSession,
    ) -> MigratingResult<WriteOutcome> {
        let MigratingSession { data, ttl, version } = session;
        let has_tags = !self.old_tags(key).await?.is_empty();
        let first = match has_tags {
            true => marker::migrating_marker(&data, ttl),
            false => data.clone(),
        };
        let published = match self.write_new(key, first, ttl, Expected::Absent).await? {
            WriteOutcome::Done(version) if has_tags => {
                let data = data.clone();
                let session = MigratingSession { data, ttl, version };
                self.complete(key, session).await?
            }
            WriteOutcome::Conflict(record) => match MigrationRecord::decode(record)? {
                MigrationRecord::Migrating(session) => self.complete(key, session).await?,
                MigrationRecord::Session(record) => WriteOutcome::Conflict(record),
                MigrationRecord::InNewStore | MigrationRecord::Reserved(_) => {
                    return Err(MigratingError::Marker.into());
                }
            },
            done_or_gone => done_or_gone,
        };
        if published == WriteOutcome::Gone {
            self.old.destroy(key).await?;
            return Ok(WriteOutcome::Gone);
        }
        self.copy_tags_to_new(key).await?;
        let (marker, expected) = (marker::in_new_store_marker(), Expected::Version(version));
        let marker_ttl = ttl.min(MARKER_TTL);
        self.old.write(key, marker, marker_ttl, expected).await?;
        Ok(match published {
            WriteOutcome::Conflict(record) if record.data == data => {
                WriteOutcome::Done(record.version)
            }
            // Another caller has published the session, and it was written since. The write was done,
            // and the old version that it returns makes the next write conflict.
            WriteOutcome::Conflict(_) => WriteOutcome::Done(from_old(version)?),
            done => done,
        })
    }

    /// Finishes an unfinished migration of a session that is already in the new store, so that its
    /// marker in the old store cannot publish it again.
    async fn finish_migration(&self, key: &StoreKey) -> MigratingResult<()> {
        if let ReadOutcome::Found(record) = self.old.read(key, None).await?
            && let MigrationRecord::Migrating(session) = MigrationRecord::decode(record)?
        {
            self.publish(key, session).await?;
        }
        Ok(())
    }

    /// Copies the tags, and replaces the migrating marker in the new store with the session.
    async fn complete(
        &self,
        key: &StoreKey,
        session: MigratingSession,
    ) -> MigratingResult<WriteOutcome> {
        let MigratingSession { data, ttl, version } = session;
        self.copy_tags_to_new(key).await?;
        let expected = Expected::Version(version);
        self.write_new(key, data, ttl, expected).await
    }

    async fn copy_tags_to_new(&self, key: &StoreKey) -> MigratingResult<()> {
        for tag in self.old_tags(key).await? {
            if let Some(new) = self.new.tags() {
                new.tag(key, &tag).await?;
            }
        }
        Ok(())
    }

    async fn old_tags(&self, key: &StoreKey) -> MigratingResult<Vec<Tag>> {
        match self.old.tags() {
            Some(old) => old.tags_of(key).await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> MigratingResult<()> {
        self.new.destroy(key).await?;
        self.old.destroy(key).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> MigratingResult<bool> {
        Ok(self.new.touch(key, ttl).await?
            || matches!(self.read(key, Some(ttl)).await?, ReadOutcome::Found(_)))
    }

    /// Returns `true` if the old store holds the session, live or migrating.
    pub(super) async fn is_in_old_store(&self, key: &StoreKey) -> MigratingResult<bool> {
        Ok(match self.old.read(key, None).await? {
            ReadOutcome::Found(record) => matches!(
                MigrationRecord::decode(record)?,
                MigrationRecord::Session(_) | MigrationRecord::Migrating(_)
            ),
            ReadOutcome::Absent | ReadOutcome::Gone => false,
        })
    }
}
