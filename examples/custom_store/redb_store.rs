//! A store over the embedded database `redb`. It implements the four required methods.

#![allow(
    clippy::result_large_err,
    reason = "the error type of the database is large"
)]

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

/// The row of each key: end (8 bytes), version (8 bytes; zero is a tombstone), data.
const SESSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");

/// The last version. One counter for all keys, so that no version repeats.
const LAST_VERSION: TableDefinition<'_, (), u64> = TableDefinition::new("versions");

const TOMBSTONE: u64 = 0;

/// Lifetime of a tombstone. It must exceed the longest request.
const TOMBSTONE_TTL: Duration = Duration::from_secs(60);

/// Number of rows after a written key that are inspected and removed if they have ended. Keys are
/// hashes, so every row is inspected sooner or later.
const SWEEP: usize = 4;

/// Sessions in one file. Every write is on the disk before it is acknowledged.
#[derive(Clone)]
pub(crate) struct RedbStore(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Clock,
}

impl RedbStore {
    /// Opens the file. Creates it if it is missing.
    pub(crate) fn open(file: &Path, clock: Clock) -> Result<Self, StoreError> {
        let open = || -> Result<_, Error> {
            let database = Database::create(file)?;
            let write = database.begin_write()?;
            write.open_table(SESSIONS)?;
            write.open_table(LAST_VERSION)?;
            write.commit()?;
            Ok(Self(Arc::new(Inner { database, clock })))
        };
        open().map_err(|error| StoreError::new("redb", "open", error))
    }

    /// Runs `work` on a thread for blocking tasks, since it waits for the disk.
    fn run_blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> StoreFuture<T> {
        let inner = Arc::clone(&self.0);
        StoreFuture::new(async move {
            let result = tokio::task::spawn_blocking(move || work(&inner)).await;
            let result = result.map_err(|error| StoreError::new("redb", operation, error))?;
            result.map_err(|error| StoreError::new("redb", operation, error))
        })
    }
}

impl Store for RedbStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.run_blocking("read", move |inner| match touch {
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
        self.run_blocking("write", move |inner| {
            inner.write(&key, &data, ttl, expected)
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run_blocking("destroy", move |inner| inner.destroy(&key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run_blocking("touch", move |inner| {
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
        state_at(&sessions, key, self.clock.now())
    }

    /// Reads, and sets the end of a live record. Only one write transaction runs at a time, so the row
    /// cannot change in between.
    fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<ReadOutcome, Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let now = self.clock.now();
        let read = state_at(&sessions, key, now)?;
        if let ReadOutcome::Found(record) = &read {
            let row = encode_row(now.saturating_add(ttl), record.version.get(), &record.data);
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
        let mut versions = write.open_table(LAST_VERSION)?;
        let now = self.clock.now();
        match (state_at(&sessions, key, now)?, expected) {
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
        let row = encode_row(now.saturating_add(ttl), version.get(), data);
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
        let row = encode_row(now.saturating_add(TOMBSTONE_TTL), TOMBSTONE, &[]);
        sessions.insert(key.as_bytes().as_slice(), row.as_slice())?;
        sweep(&mut sessions, key, now)?;
        drop(sessions);
        Ok(write.commit()?)
    }
}

/// Returns the state of `key` at `now`. A row that has ended is absent.
fn state_at(
    sessions: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &StoreKey,
    now: Timestamp,
) -> Result<ReadOutcome, Error> {
    let Some(row) = sessions.get(key.as_bytes().as_slice())? else {
        return Ok(ReadOutcome::Absent);
    };
    let (end, version, data) = decode_row(row.value())?;
    Ok(match Version::new(version) {
        _ if end <= now => ReadOutcome::Absent,
        None => ReadOutcome::Gone,
        Some(version) => ReadOutcome::Found(Record::new(Bytes::copy_from_slice(data), version)),
    })
}

/// Removes the ended rows among the next ones.
fn sweep(
    sessions: &mut Table<'_, &'static [u8], &'static [u8]>,
    key: &StoreKey,
    now: Timestamp,
) -> Result<(), Error> {
    let after = (Bound::Excluded(key.as_bytes().as_slice()), Bound::Unbounded);
    let mut ended = Vec::new();
    for entry in sessions.range::<&[u8]>(after)?.take(SWEEP) {
        let (key, row) = entry?;
        if decode_row(row.value())?.0 <= now {
            ended.push(key.value().to_vec());
        }
    }
    for key in ended {
        sessions.remove(key.as_slice())?;
    }
    Ok(())
}

fn encode_row(end: Timestamp, version: u64, data: &[u8]) -> Vec<u8> {
    let (end, version) = (end.as_millis().to_be_bytes(), version.to_be_bytes());
    [&end, &version, data].concat()
}

fn decode_row(row: &[u8]) -> Result<(Timestamp, u64, &[u8]), Error> {
    let decode = || {
        let (end, rest) = row.split_first_chunk()?;
        let (version, data) = rest.split_first_chunk()?;
        let end = Timestamp::from_millis(u64::from_be_bytes(*end));
        Some((end, u64::from_be_bytes(*version), data))
    };
    decode().ok_or_else(|| Error::Corrupted("row of a session is too short".into()))
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbStore")
    }
}
