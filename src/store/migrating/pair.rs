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
//! 2. Create the session in the new store. *Only one caller creates it. A record in the new store is
//!    this session or a later version of it.*
//! 3. Replace the marker in the old store with an in-new-store marker for [`MARKER_TTL`]. *A machine
//!    that knows only the old store and read the session before cannot write it.*
//!
//! The migrating marker and the new record have the session's tags. *A logout everywhere finds the
//! session after each step.*
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

use super::{
    error::{MigratingError, MigratingResult},
    marker::{self, MigratingSession, MigrationRecord},
    versions::{StoreSide, from_new, from_new_record, from_old, from_old_record},
};
use crate::{
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, Record, Store, Version, WriteOutcome, WriteRequest},
};

/// Time to live of a marker in the old store: longer than the longest request.
const MARKER_TTL: Duration = Duration::from_secs(60);

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
                    let expected = Expected::Version(record.version);
                    let request = WriteRequest::new(key, record.data, ttl, expected);
                    self.migrate(request.tags(record.tags), ttl).await?;
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
        match self.new.read(key, touch).await? {
            ReadOutcome::Found(record) => Ok(Some(ReadOutcome::Found(new_session(record)?))),
            ReadOutcome::Absent => Ok(None),
            ReadOutcome::Gone => {
                // The destroying machine may have stopped before the old store.
                if let ReadOutcome::Found(_) = self.old.read(key, None).await? {
                    self.old.destroy(key).await?;
                }
                Ok(Some(ReadOutcome::Gone))
            }
        }
    }

    pub(super) async fn write(&self, request: WriteRequest) -> MigratingResult<WriteOutcome> {
        match (request.expected, request.expiry) {
            (Expected::Version(version), _) => self.replace(request, version).await,
            (Expected::Absent, Expiry::After(ttl)) => self.create(&request, ttl).await,
            (Expected::Absent, Expiry::Keep) => self.conflict_or_gone(&request.key).await,
            (Expected::Any, _) => self.overwrite(request).await,
        }
    }

    /// Writes without an expected version: reads the current one, and retries if it changes.
    async fn overwrite(&self, request: WriteRequest) -> MigratingResult<WriteOutcome> {
        loop {
            let read = self.read(&request.key, None).await?;
            let written = match (read, request.expiry) {
                (ReadOutcome::Found(record), _) => {
                    self.replace(request.clone(), record.version).await?
                }
                (ReadOutcome::Absent, Expiry::After(ttl)) => self.create(&request, ttl).await?,
                (ReadOutcome::Absent, Expiry::Keep) | (ReadOutcome::Gone, _) => {
                    return Ok(WriteOutcome::Gone);
                }
            };
            if let WriteOutcome::Done(_) = written {
                return Ok(written);
            }
        }
    }

    async fn replace(
        &self,
        mut request: WriteRequest,
        version: Version,
    ) -> MigratingResult<WriteOutcome> {
        let (key, side) = (request.key, StoreSide::from_version(version));
        let (StoreSide::New(version) | StoreSide::Old(version)) = side;
        request.expected = Expected::Version(version);
        let outcome = match (side, request.expiry) {
            (StoreSide::New(_), expiry) => {
                // The record may expire before the marker of an unfinished migration, which would then
                // publish the session again: a fence lives shortly, and a session has its own timeout.
                if let Expiry::After(_) = expiry {
                    self.finish_migration(&key).await?;
                }
                return self.write_new(request).await;
            }
            (StoreSide::Old(_), Expiry::After(ttl)) if self.migrates => {
                self.migrate(request, ttl).await?
            }
            // A marker would need the remaining time to live, so a session that keeps its expiry stays.
            (StoreSide::Old(_), _) => match self.old.write(request).await? {
                WriteOutcome::Done(version) => Some(WriteOutcome::Done(from_old(version)?)),
                WriteOutcome::Conflict(_) | WriteOutcome::Gone => None,
            },
        };
        match outcome {
            Some(written) => Ok(written),
            None => self.conflict_or_gone(&key).await,
        }
    }

    /// Returns the outcome of a write whose expected version is outdated.
    async fn conflict_or_gone(&self, key: &StoreKey) -> MigratingResult<WriteOutcome> {
        Ok(match self.read(key, None).await? {
            ReadOutcome::Found(record) => WriteOutcome::Conflict(record),
            ReadOutcome::Absent | ReadOutcome::Gone => WriteOutcome::Gone,
        })
    }

    /// Creates the session with the time to live `ttl`.
    async fn create(&self, request: &WriteRequest, ttl: Duration) -> MigratingResult<WriteOutcome> {
        let key = &request.key;
        let mut expected = Expected::Absent;
        let in_new_store = || WriteRequest {
            expected: Expected::Absent,
            ..request.clone()
        };
        loop {
            let (marker, marker_ttl) = match self.migrates {
                true => (marker::in_new_store_marker(), ttl.min(MARKER_TTL)),
                false => (marker::reserved_marker(), MARKER_TTL),
            };
            let marking = WriteRequest::new(key, marker, marker_ttl, expected);
            let version = match self.old.write(marking).await? {
                WriteOutcome::Done(_) if self.migrates => {
                    return self.write_new(in_new_store()).await;
                }
                WriteOutcome::Done(version) => version,
                WriteOutcome::Conflict(record) => match MigrationRecord::decode(record)? {
                    MigrationRecord::Session(record) => {
                        return Ok(WriteOutcome::Conflict(from_old_record(record)?));
                    }
                    MigrationRecord::InNewStore => {
                        return self.write_new(in_new_store()).await;
                    }
                    MigrationRecord::Reserved(marker) if self.migrates => {
                        expected = Expected::Version(marker.version);
                        continue;
                    }
                    // Use the other machine's marker. If each replaced the marker of the other, both
                    // could repeat this without end.
                    MigrationRecord::Reserved(marker) => marker.version,
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
            if let Some(written) = self.create_old(request, ttl, version).await? {
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
        request: &WriteRequest,
        ttl: Duration,
        reserved: Version,
    ) -> MigratingResult<Option<WriteOutcome>> {
        let (key, expected) = (&request.key, Expected::Version(reserved));
        let outcome = match self.read_new(key, None).await? {
            None => {
                let request = WriteRequest {
                    expected,
                    ..request.clone()
                };
                return Ok(match self.old.write(request).await? {
                    WriteOutcome::Done(version) => Some(WriteOutcome::Done(from_old(version)?)),
                    WriteOutcome::Conflict(_) | WriteOutcome::Gone => None,
                });
            }
            Some(ReadOutcome::Found(record)) => WriteOutcome::Conflict(record),
            Some(_) => WriteOutcome::Gone,
        };
        self.mark_in_new_store(key, ttl, reserved).await?;
        Ok(Some(outcome))
    }

    /// Replaces this version in the old store with an in-new-store marker, unless it has changed.
    async fn mark_in_new_store(
        &self,
        key: &StoreKey,
        ttl: Duration,
        version: Version,
    ) -> MigratingResult<()> {
        let (marker, ttl) = (marker::in_new_store_marker(), ttl.min(MARKER_TTL));
        let marking = WriteRequest::new(key, marker, ttl, Expected::Version(version));
        self.old.write(marking).await.map(drop)
    }

    async fn write_new(&self, request: WriteRequest) -> MigratingResult<WriteOutcome> {
        Ok(match self.new.write(request).await? {
            WriteOutcome::Done(version) => WriteOutcome::Done(from_new(version)?),
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(new_session(record)?),
            WriteOutcome::Gone => WriteOutcome::Gone,
        })
    }

    /// Writes on the expected version of the old store and migrates the session, with the time to live
    /// `ttl`.
    ///
    /// Returns `None` if that version is outdated.
    async fn migrate(
        &self,
        request: WriteRequest,
        ttl: Duration,
    ) -> MigratingResult<Option<WriteOutcome>> {
        let WriteRequest { key, tags, .. } = request;
        let marker = marker::migrating_marker(&request.data, ttl);
        let marking = WriteRequest::new(&key, marker, ttl, request.expected);
        match self.old.write(marking.tags(tags.clone())).await? {
            WriteOutcome::Done(version) => {
                let session = MigratingSession {
                    data: request.data,
                    tags,
                    ttl,
                    version,
                };
                self.publish(&key, session).await.map(Some)
            }
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => Ok(None),
        }
    }

    /// Moves a migrating session to the new store: steps 2 and 3 of a migration.
    ///
    /// Returns the outcome of the write that created the marker. Several callers may publish the same
    /// session at once, or after one has stopped.
    pub(super) async fn publish(
        &self,
        key: &StoreKey,
        session: MigratingSession,
    ) -> MigratingResult<WriteOutcome> {
        let MigratingSession { ttl, version, .. } = session;
        let request = WriteRequest::new(key, session.data, ttl, Expected::Absent);
        let request = request.tags(session.tags);
        let published = self.write_new(request.clone()).await?;
        if published == WriteOutcome::Gone {
            self.old.destroy(key).await?;
            return Ok(WriteOutcome::Gone);
        }
        self.mark_in_new_store(key, ttl, version).await?;
        Ok(match published {
            WriteOutcome::Conflict(record)
                if record.data == request.data && record.tags == request.tags =>
            {
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

    pub(super) async fn destroy(&self, key: &StoreKey) -> MigratingResult<()> {
        self.new.destroy(key).await?;
        self.old.destroy(key).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> MigratingResult<bool> {
        Ok(self.new.touch(key, ttl).await?
            || matches!(self.read(key, Some(ttl)).await?, ReadOutcome::Found(_)))
    }
}

/// Returns a record of the new store, which must be a session, with the migrating store's version.
fn new_session(record: Record) -> MigratingResult<Record> {
    match MigrationRecord::decode(from_new_record(record)?)? {
        MigrationRecord::Session(record) => Ok(record),
        MigrationRecord::Migrating(_)
        | MigrationRecord::InNewStore
        | MigrationRecord::Reserved(_) => Err(MigratingError::Marker.into()),
    }
}
