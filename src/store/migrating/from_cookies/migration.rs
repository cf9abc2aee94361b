//! The migration of one request's session.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::{
    id::StoreKey,
    store::{
        Capabilities, Expected, ReadOutcome, Record, RequestStore, Store, Tag, Version,
        WriteOutcome,
        migrating::{
            error::{MigratingError, MigratingResult},
            marker::{self, MigrationRecord},
            versions::{StoreSide, from_new, from_new_record, from_old, from_old_record},
        },
    },
    sync,
};

/// Time to live of a reserved marker: longer than the longest request.
const RESERVATION_TTL: Duration = Duration::from_secs(60);

/// The old and the new store of one request.
pub(super) struct CookieMigration {
    pub(super) old: Arc<dyn RequestStore>,
    pub(super) new: Arc<dyn Store>,
    /// Changes of this request to the tags of a session in its cookie. If another request migrates the
    /// session first, they are repeated in the new store.
    pending_tags: Mutex<Vec<PendingTag>>,
    /// This request writes to the new store: sessions migrate, or this one has migrated.
    writes_to_new: AtomicBool,
}

/// A change to a tag.
pub(super) enum PendingTag {
    Add(Tag),
    Remove(Tag),
}

/// The state of a key in the new store.
pub(super) enum NewStoreEntry {
    Session(Record),
    /// A request is about to migrate the session.
    Reserved(Version),
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
            MigrationRecord::Reserved(version) => Ok(Self::Reserved(version)),
            MigrationRecord::Migrating(_) | MigrationRecord::InNewStore => {
                Err(MigratingError::Marker.into())
            }
        }
    }
}

impl CookieMigration {
    pub(super) fn new(old: Arc<dyn RequestStore>, new: Arc<dyn Store>, migrates: bool) -> Self {
        Self {
            old,
            new,
            pending_tags: Mutex::default(),
            writes_to_new: migrates.into(),
        }
    }

    pub(super) fn writes_to_new(&self) -> bool {
        self.writes_to_new.load(Ordering::Acquire)
    }

    pub(super) fn pending_tags(&self) -> MutexGuard<'_, Vec<PendingTag>> {
        sync::lock(&self.pending_tags)
    }

    pub(super) async fn new_entry(
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
                    self.migrate(key, record.data, ttl).await?;
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
        let version = match StoreSide::from_version(version) {
            StoreSide::New(version) => version,
            StoreSide::Old(_) if self.writes_to_new() => return self.migrate(key, data, ttl).await,
            StoreSide::Old(version) => {
                let expected = Expected::Version(version);
                return self.write_cookie(key, data, ttl, expected).await;
            }
        };
        let expected = Expected::Version(version);
        Ok(match self.new.write(key, data, ttl, expected).await? {
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

    async fn create(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
    ) -> MigratingResult<WriteOutcome> {
        if self.old.contains(key) {
            match self.read(key, None).await? {
                ReadOutcome::Found(record) => return Ok(WriteOutcome::Conflict(record)),
                ReadOutcome::Gone => return Ok(WriteOutcome::Gone),
                ReadOutcome::Absent => {}
            }
        }
        let mut expected = Expected::Absent;
        if !self.writes_to_new() {
            return self.write_cookie(key, data, ttl, expected).await;
        }
        loop {
            expected = match self.new.write(key, data.clone(), ttl, expected).await? {
                WriteOutcome::Done(version) => return Ok(WriteOutcome::Done(from_new(version)?)),
                WriteOutcome::Conflict(record) => match NewStoreEntry::from_record(record)? {
                    NewStoreEntry::Reserved(version) => Expected::Version(version),
                    NewStoreEntry::Session(record) => return Ok(WriteOutcome::Conflict(record)),
                    NewStoreEntry::Absent | NewStoreEntry::Gone => return Ok(WriteOutcome::Gone),
                },
                WriteOutcome::Gone if expected == Expected::Absent => {
                    return Ok(WriteOutcome::Gone);
                }
                // The marker has expired or the session was destroyed. The next attempt shows which.
                WriteOutcome::Gone => Expected::Absent,
            };
        }
    }

    /// Migrates the session with this data, unless it has migrated or ended already.
    async fn migrate(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
    ) -> MigratingResult<WriteOutcome> {
        let tags = self.cookie_tags(key).await?;
        let mut expected = Expected::Absent;
        let mut is_tagged = tags.is_empty();
        loop {
            let (next, next_ttl) = match is_tagged {
                true => (data.clone(), ttl),
                false => (marker::reserved_marker(), RESERVATION_TTL),
            };
            if is_tagged && !matches!(self.old.read(key, None).await?, ReadOutcome::Found(_)) {
                return self.conflict_or_gone(key).await;
            }
            match self.new.write(key, next, next_ttl, expected).await? {
                WriteOutcome::Done(version) if is_tagged => {
                    self.pending_tags().clear();
                    self.drop_cookie(key).await?;
                    return Ok(WriteOutcome::Done(from_new(version)?));
                }
                WriteOutcome::Done(version) => {
                    expected = Expected::Version(version);
                    is_tagged = self.add_tags_to_new(key, &tags).await?;
                }
                WriteOutcome::Conflict(record) => match NewStoreEntry::from_record(record)? {
                    NewStoreEntry::Reserved(version) => {
                        expected = Expected::Version(version);
                        is_tagged = self.add_tags_to_new(key, &tags).await?;
                    }
                    NewStoreEntry::Session(record) => {
                        return self.continue_in_new_store(key, record).await;
                    }
                    NewStoreEntry::Absent | NewStoreEntry::Gone => return Ok(WriteOutcome::Gone),
                },
                WriteOutcome::Gone if expected == Expected::Absent => {
                    self.drop_cookie(key).await?;
                    return Ok(WriteOutcome::Gone);
                }
                WriteOutcome::Gone => (expected, is_tagged) = (Expected::Absent, tags.is_empty()),
            }
        }
    }

    /// Writes to the cookie, unless the session has migrated or ended.
    async fn write_cookie(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> MigratingResult<WriteOutcome> {
        match self.new_entry(key, None).await? {
            NewStoreEntry::Session(record) => return self.continue_in_new_store(key, record).await,
            NewStoreEntry::Gone => {
                self.drop_cookie(key).await?;
                return Ok(WriteOutcome::Gone);
            }
            NewStoreEntry::Reserved(_) | NewStoreEntry::Absent => {}
        }
        Ok(match self.old.write(key, data, ttl, expected).await? {
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
        let pending = std::mem::take(&mut *self.pending_tags());
        if let Some(new) = self.new.tags() {
            for change in pending {
                match change {
                    PendingTag::Add(tag) => drop(new.tag(key, &tag).await?),
                    PendingTag::Remove(tag) => new.untag(key, &tag).await?,
                }
            }
        }
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
        let migrated = !self.old.contains(key) && self.new.touch(key, ttl).await?;
        Ok(migrated || matches!(self.read(key, Some(ttl)).await?, ReadOutcome::Found(_)))
    }
}
