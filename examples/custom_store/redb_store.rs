//! A store in four methods, over the embedded database `redb`.

#![allow(clippy::result_large_err, reason = "the database's own error is large")]

use std::{fmt, ops::Bound, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        Capabilities, Expected, ReadOutcome, Record, Store, StoreError, StoreFuture, Version,
        WriteOutcome,
    },
};
use redb::{Database, Error, ReadableTable, Table, TableDefinition};

/// By key: when it ends (8 bytes), its version (8 bytes; zero is a tombstone), its data.
const SESSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");

/// The last version that was given, for all keys: so none sees one twice.
const VERSIONS: TableDefinition<'_, (), u64> = TableDefinition::new("versions");

const TOMBSTONE: u64 = 0;

/// How long a destroyed key stays fenced: longer than the longest request.
const FENCE: Duration = Duration::from_secs(60);

/// How many of a written key's neighbours are looked at, to remove those that have ended. Keys are
/// hashes, so in time all are seen.
const SWEEP: usize = 4;

/// Sessions in one file of this machine, each write on the disk before it is acknowledged.
#[derive(Clone)]
pub(crate) struct RedbStore(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Clock,
}

impl RedbStore {
    /// Opens the file, or makes it.
    pub(crate) fn open(file: &Path, clock: Clock) -> Result<Self, StoreError> {
        let open = || -> Result<_, Error> {
            let database = Database::create(file)?;
            let write = database.begin_write()?;
            write.open_table(SESSIONS)?;
            write.open_table(VERSIONS)?;
            write.commit()?;
            Ok(Self(Arc::new(Inner { database, clock })))
        };
        open().map_err(|error| StoreError::new("redb", "open", error))
    }

    /// Does the work where it may wait for the disk, and not in the runtime's own threads.
    fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> StoreFuture<T> {
        let inner = Arc::clone(&self.0);
        StoreFuture::new(async move {
            let done = tokio::task::spawn_blocking(move || work(&inner)).await;
            let done = done.map_err(|error| StoreError::new("redb", action, error))?;
            done.map_err(|error| StoreError::new("redb", action, error))
        })
    }
}

impl Store for RedbStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.blocking("read", move |inner| match touch {
            None => inner.read(&key),
            Some(ttl) => inner.touch(&key, ttl),
        })
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let key = *key;
        self.blocking("write", move |inner| {
            inner.write(&key, &data, ttl, expected)
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.blocking("destroy", move |inner| inner.destroy(&key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.blocking("touch", move |inner| {
            Ok(matches!(inner.touch(&key, ttl)?, ReadOutcome::Found(_)))
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().persistent(true)
    }
}

impl Inner {
    fn read(&self, key: &StoreKey) -> Result<ReadOutcome, Error> {
        let read = self.database.begin_read()?;
        let sessions = read.open_table(SESSIONS)?;
        standing(&sessions, key, self.clock.now())
    }

    /// Reads, and sets the end of a live record. One transaction writes at a time, so what was read
    /// is still so when it is written.
    fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<ReadOutcome, Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let now = self.clock.now();
        let read = standing(&sessions, key, now)?;
        if let ReadOutcome::Found(record) = &read {
            let row = row(now.saturating_add(ttl), record.version.get(), &record.data);
            sessions.insert(key.as_bytes().as_slice(), row.as_slice())?;
        }
        drop(sessions);
        write.commit()?;
        Ok(read)
    }

    fn write(
        &self,
        key: &StoreKey,
        data: &[u8],
        ttl: Duration,
        expected: Expected,
    ) -> Result<WriteOutcome, Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let mut versions = write.open_table(VERSIONS)?;
        let now = self.clock.now();
        match (standing(&sessions, key, now)?, expected) {
            (ReadOutcome::Gone, _) | (ReadOutcome::Absent, Expected::Version(_)) => {
                return Ok(WriteOutcome::Gone);
            }
            (ReadOutcome::Found(record), Expected::Version(version))
                if record.version == version => {}
            (ReadOutcome::Absent, _) | (ReadOutcome::Found(_), Expected::Any) => {}
            (ReadOutcome::Found(record), _) => return Ok(WriteOutcome::Conflict(record)),
        }
        let last = versions.get(())?.map_or(TOMBSTONE, |last| last.value());
        let Some(version) = Version::new(last.wrapping_add(1)) else {
            return Ok(WriteOutcome::Gone);
        };
        versions.insert((), version.get())?;
        let row = row(now.saturating_add(ttl), version.get(), data);
        sessions.insert(key.as_bytes().as_slice(), row.as_slice())?;
        sweep(&mut sessions, key, now)?;
        drop((sessions, versions));
        write.commit()?;
        Ok(WriteOutcome::Done(version))
    }

    fn destroy(&self, key: &StoreKey) -> Result<(), Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let now = self.clock.now();
        let row = row(now.saturating_add(FENCE), TOMBSTONE, &[]);
        sessions.insert(key.as_bytes().as_slice(), row.as_slice())?;
        sweep(&mut sessions, key, now)?;
        drop(sessions);
        Ok(write.commit()?)
    }
}

/// What stands under `key` at `now`: what has ended is absent.
fn standing(
    sessions: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &StoreKey,
    now: Timestamp,
) -> Result<ReadOutcome, Error> {
    let Some(row) = sessions.get(key.as_bytes().as_slice())? else {
        return Ok(ReadOutcome::Absent);
    };
    let (end, version, data) = parts(row.value())?;
    Ok(match Version::new(version) {
        _ if end <= now => ReadOutcome::Absent,
        None => ReadOutcome::Gone,
        Some(version) => ReadOutcome::Found(Record::new(Bytes::copy_from_slice(data), version)),
    })
}

/// Removes those of the next keys that have ended.
fn sweep(
    sessions: &mut Table<'_, &'static [u8], &'static [u8]>,
    key: &StoreKey,
    now: Timestamp,
) -> Result<(), Error> {
    let after = (Bound::Excluded(key.as_bytes().as_slice()), Bound::Unbounded);
    let mut ended = Vec::new();
    for entry in sessions.range::<&[u8]>(after)?.take(SWEEP) {
        let (key, row) = entry?;
        if parts(row.value())?.0 <= now {
            ended.push(key.value().to_vec());
        }
    }
    for key in ended {
        sessions.remove(key.as_slice())?;
    }
    Ok(())
}

fn row(end: Timestamp, version: u64, data: &[u8]) -> Vec<u8> {
    let (end, version) = (end.as_millis().to_be_bytes(), version.to_be_bytes());
    [&end, &version, data].concat()
}

fn parts(row: &[u8]) -> Result<(Timestamp, u64, &[u8]), Error> {
    let parts = || {
        let (end, rest) = row.split_first_chunk()?;
        let (version, data) = rest.split_first_chunk()?;
        let end = Timestamp::from_millis(u64::from_be_bytes(*end));
        Some((end, u64::from_be_bytes(*version), data))
    };
    parts().ok_or_else(|| Error::Corrupted("a session's row is too short".into()))
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbStore")
    }
}
