//! The migration of one request's session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    id::StoreKey,
    store::{
        Capabilities, Expected, Expiry, ReadOutcome, Record, RequestStore, Store, Tag, Tags,
        Version, WriteOutcome, WriteRequest,
        migrating::{
            error::{MigratingError, MigratingResult},
            marker::{self, MigrationRecord},
            versions::{StoreSide, from_new, from_new_record, from_old, from_old_record},
        },
    },
};

/// Time to live of a reserved marker: longer than the longest request.
const RESERVATION_TTL: Duration = Duration::from_secs(60);

/// The old and the new store of one request.
pub(super) struct CookieMigration {
    pub(super) old: Arc<dyn RequestStore>,
    pub(super) new: Arc<dyn Store>,
    /// This request writes to the new store: sessions migrate, or this one has migrated.
    writes_to_new: AtomicBool,
}

/// The state of a key in the new store.
pub(super) enum NewStoreEntry {
    Session(Record),
    /// The marker of a request that is about to migrate the session.
    Reserved(Record),
    Absent,
    Gone,
}

/// Returns the capabilities of both stores together. The new store determines conditional writes,
/// if writes use it.
pub(super) fn combine_capabilities(
    old: Capabilities,
    new: Capabilities,
    writes_to_new: bool,
) -> Capabilities {
    Capabilities {
        conditional_writes: writes_to_new && new.conditional_writes,
        persistent: old.persistent && new.persistent,
        shared: old.shared && new.shared,
        list_by_tag: false,
        operation_timeout: old.operation_timeout.max(new.operation_timeout),
        evicts: old.evicts || new.evicts,
        ..new
    }
}

impl NewStoreEntry {
    pub(super) fn from_read(read: ReadOutcome) -> MigratingResult<Self> {
        match read {
            ReadOutcome::Found(record) => Self::from_record(record),
            ReadOutcome::Absent => Ok(Self::Absent),
            ReadOutcome::Gone => Ok(Self::Gone),
        }
    }

    fn from_record(record: Record) -> MigratingResult<Self> {
        match MigrationRecord::decode(from_new_record(record)?)? {
            MigrationRecord::Session(record) => Ok(Self::Session(record)),
            MigrationRecord::Reserved(marker) => Ok(Self::Reserved(marker)),
            MigrationRecord::Migrating(_) | MigrationRecord::InNewStore => {
                Err(MigratingError::Marker.into())
            }
        }
    }
}

/// Returns the outcome of a write to the new store. A conflict with a marker is a session that is gone
/// from the new store.
pub(super) fn session_outcome(written: WriteOutcome) -> MigratingResult<WriteOutcome> {
    Ok(match written {
        WriteOutcome::Done(version) => WriteOutcome::Done(from_new(version)?),
        WriteOutcome::Gone => WriteOutcome::Gone,
        WriteOutcome::Conflict(record) => match NewStoreEntry::from_record(record)? {
            NewStoreEntry::Session(record) => WriteOutcome::Conflict(record),
            NewStoreEntry::Reserved(_) | NewStoreEntry::Absent | NewStoreEntry::Gone => {
                WriteOutcome::Gone
            }
        },
    })
}

impl CookieMigration {
    pub(super) fn new(old: Arc<dyn RequestStore>, new: Arc<dyn Store>, migrates: bool) -> Self {
        Self {
            old,
            new,
            writes_to_new: migrates.into(),
        }
    }

    pub(super) fn has_tags(&self) -> bool {
        self.old.tags().is_some() && self.new.tags().is_some()
    }

    pub(super) fn writes_to_new(&self) -> bool {
        self.writes_to_new.load(Ordering::Acquire)
    }

    async fn new_entry(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> MigratingResult<NewStoreEntry> {
        NewStoreEntry::from_read(self.new.read(key, touch).await?)
    }

    pub(super) async fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> MigratingResult<ReadOutcome> {
        loop {
            if let Some(read) = self.read_new(key, touch).await? {
                return Ok(read);
            }
            let (touch_old, migrate_for) = match self.writes_to_new() {
                true => (None, touch),
                false => (touch, None),
            };
            match (self.old.read(key, touch_old).await?, migrate_for) {
                (ReadOutcome::Found(record), None) => {
                    return Ok(ReadOutcome::Found(from_old_record(record)?));
                }
                // A renewal migrates sessions that are never written.
                (ReadOutcome::Found(record), Some(ttl)) => {
                    let request = WriteRequest::new(key, record.data, ttl, Expected::Absent);
                    self.migrate(request.tags(record.tags)).await?;
                }
                // Another request may have migrated the session meanwhile, and revoked the cookie.
                (absent_or_gone, _) => {
                    let read = self.read_new(key, touch).await?;
                    return Ok(read.unwrap_or(absent_or_gone));
                }
            }
        }
    }

    /// Reads the new store. Returns `None` if the session can only be in its cookie.
    async fn read_new(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> MigratingResult<Option<ReadOutcome>> {
        let read = match self.new_entry(key, touch).await? {
            NewStoreEntry::Session(record) => {
                self.writes_to_new.store(true, Ordering::Release);
                ReadOutcome::Found(record)
            }
            NewStoreEntry::Gone => ReadOutcome::Gone,
            NewStoreEntry::Reserved(_) | NewStoreEntry::Absent => return Ok(None),
        };
        self.drop_cookie(key).await?;
        Ok(Some(read))
    }

    /// Removes and revokes the session's cookie, if the request has one.
    async fn drop_cookie(&self, key: &StoreKey) -> MigratingResult<()> {
        match self.old.remaining_ttl(key) {
            Some(_) => self.old.destroy(key).await,
            None => Ok(()),
        }
    }

    pub(super) async fn write(&self, request: WriteRequest) -> MigratingResult<WriteOutcome> {
        match (request.expected, request.expiry) {
            (Expected::Version(version), _) => self.replace(request, version).await,
            (Expected::Absent, Expiry::After(_)) => self.create(request).await,
            (Expected::Absent, Expiry::Keep) => Ok(match self.read(&request.key, None).await? {
                ReadOutcome::Found(record) => WriteOutcome::Conflict(record),
                ReadOutcome::Absent | ReadOutcome::Gone => WriteOutcome::Gone,
            }),
            (Expected::Any, _) => self.overwrite(request).await,
        }
    }

    /// Writes without an expected version: reads the current one, and retries if it changes.
    async fn overwrite(&self, request: WriteRequest) -> MigratingResult<WriteOutcome> {
        loop {
            let written = match self.read(&request.key, None).await? {
                ReadOutcome::Found(record) => self.replace(request.clone(), record.version).await?,
                ReadOutcome::Absent if request.expiry != Expiry::Keep => {
                    self.create(request.clone()).await?
                }
                ReadOutcome::Absent | ReadOutcome::Gone => return Ok(WriteOutcome::Gone),
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
        let side = StoreSide::from_version(version);
        let (StoreSide::New(version) | StoreSide::Old(version)) = side;
        request.expected = Expected::Version(version);
        match side {
            StoreSide::New(_) => session_outcome(self.new.write(request).await?),
            StoreSide::Old(_) if self.writes_to_new() => self.migrate(request).await,
            StoreSide::Old(_) => self.write_cookie(request).await,
        }
    }

    /// Creates the session, with a time to live.
    async fn create(&self, mut request: WriteRequest) -> MigratingResult<WriteOutcome> {
        request.expected = Expected::Absent;
        let key = request.key;
        if self.old.remaining_ttl(&key).is_some() {
            match self.read(&key, None).await? {
                ReadOutcome::Found(record) => return Ok(WriteOutcome::Conflict(record)),
                ReadOutcome::Gone => return Ok(WriteOutcome::Gone),
                ReadOutcome::Absent => {}
            }
        }
        if !self.writes_to_new() {
            return self.write_cookie(request).await;
        }
        loop {
            request.expected = match self.new.write(request.clone()).await? {
                WriteOutcome::Done(version) => return Ok(WriteOutcome::Done(from_new(version)?)),
                WriteOutcome::Conflict(record) => match NewStoreEntry::from_record(record)? {
                    NewStoreEntry::Reserved(marker) => Expected::Version(marker.version),
                    NewStoreEntry::Session(record) => return Ok(WriteOutcome::Conflict(record)),
                    NewStoreEntry::Absent | NewStoreEntry::Gone => return Ok(WriteOutcome::Gone),
                },
                WriteOutcome::Gone if request.expected == Expected::Absent => {
                    return Ok(WriteOutcome::Gone);
                }
                // The marker has expired or the session was destroyed. The next attempt shows which.
                WriteOutcome::Gone => Expected::Absent,
            };
        }
    }

    /// Migrates the session with the data and tags of the request, unless it has migrated or ended
    /// already.
    async fn migrate(&self, mut request: WriteRequest) -> MigratingResult<WriteOutcome> {
        let (key, keeps_expiry) = (request.key, request.expiry == Expiry::Keep);
        request.expected = Expected::Absent;
        let mut reserved = Tags::new();
        loop {
            // The cookie is read after the marker has its tags.
            let read = self.old.read(&key, None).await?;
            let (ReadOutcome::Found(cookie), Some(ttl)) = (read, self.old.remaining_ttl(&key))
            else {
                return self.conflict_or_gone(&key).await;
            };
            if keeps_expiry {
                request.expiry = Expiry::After(ttl);
            }
            let missing = cookie.tags.iter().any(|tag| !reserved.contains(tag));
            let next = match missing {
                true => {
                    reserved = merge_tags(cookie.tags, &reserved);
                    let marker = marker::reserved_marker();
                    WriteRequest::new(&key, marker, RESERVATION_TTL, request.expected)
                        .tags(reserved.clone())
                }
                false => request.clone(),
            };
            match self.new.write(next).await? {
                WriteOutcome::Done(version) if missing => {
                    request.expected = Expected::Version(version);
                }
                WriteOutcome::Done(version) => {
                    self.drop_cookie(&key).await?;
                    return Ok(WriteOutcome::Done(from_new(version)?));
                }
                WriteOutcome::Conflict(record) => match NewStoreEntry::from_record(record)? {
                    NewStoreEntry::Reserved(marker) => {
                        request.expected = Expected::Version(marker.version);
                        reserved = marker.tags;
                    }
                    NewStoreEntry::Session(record) => {
                        return self.continue_in_new_store(&key, record).await;
                    }
                    NewStoreEntry::Absent | NewStoreEntry::Gone => return Ok(WriteOutcome::Gone),
                },
                WriteOutcome::Gone if request.expected == Expected::Absent => {
                    self.drop_cookie(&key).await?;
                    return Ok(WriteOutcome::Gone);
                }
                WriteOutcome::Gone => {
                    request.expected = Expected::Absent;
                    reserved = Tags::new();
                }
            }
        }
    }

    /// Writes to the cookie, unless the session has migrated or ended.
    async fn write_cookie(&self, request: WriteRequest) -> MigratingResult<WriteOutcome> {
        let key = request.key;
        match self.new_entry(&key, None).await? {
            NewStoreEntry::Session(record) => {
                return self.continue_in_new_store(&key, record).await;
            }
            NewStoreEntry::Gone => {
                self.drop_cookie(&key).await?;
                return Ok(WriteOutcome::Gone);
            }
            NewStoreEntry::Reserved(_) | NewStoreEntry::Absent => {}
        }
        Ok(match self.old.write(request).await? {
            WriteOutcome::Done(version) => WriteOutcome::Done(from_old(version)?),
            WriteOutcome::Conflict(record) => WriteOutcome::Conflict(from_old_record(record)?),
            WriteOutcome::Gone => WriteOutcome::Gone,
        })
    }

    /// Returns the outcome of a write whose cookie was revoked or has expired during this request.
    async fn conflict_or_gone(&self, key: &StoreKey) -> MigratingResult<WriteOutcome> {
        if let NewStoreEntry::Session(record) = self.new_entry(key, None).await? {
            return self.continue_in_new_store(key, record).await;
        }
        self.drop_cookie(key).await?;
        Ok(WriteOutcome::Gone)
    }

    /// Continues in the new store after another request has migrated the session.
    async fn continue_in_new_store(
        &self,
        key: &StoreKey,
        record: Record,
    ) -> MigratingResult<WriteOutcome> {
        self.writes_to_new.store(true, Ordering::Release);
        self.drop_cookie(key).await?;
        Ok(WriteOutcome::Conflict(record))
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> MigratingResult<()> {
        self.new.destroy(key).await?;
        self.old.destroy(key).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> MigratingResult<bool> {
        // A touch also succeeds on a reserved marker. So it proves nothing about a session that is in
        // its cookie.
        let in_cookie = self.old.remaining_ttl(key).is_some();
        let migrated = !in_cookie && self.new.touch(key, ttl).await?;
        Ok(migrated || matches!(self.read(key, Some(ttl)).await?, ReadOutcome::Found(_)))
    }
}

/// Returns `tags` with those of `others` for which there is room.
///
/// If requests replaced each other's markers without keeping the tags, they could repeat this without
/// end.
fn merge_tags(mut tags: Tags, others: &Tags) -> Tags {
    for tag in others.iter().filter_map(|name| Tag::new(name).ok()) {
        if tags.insert(&tag).is_err() {
            break;
        }
    }
    tags
}
