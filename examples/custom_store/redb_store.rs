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
        Capabilities, Expected, Expiry, ReadOutcome, Record, Store, StoreError, StoreFuture, Tags,
        Version, WriteOutcome, WriteRequest,
    },
};
use redb::{Database, Error, ReadableTable, Table, TableDefinition};

/// The row of each key: end, version, length of the tags (8 bytes each), tags, data. A tombstone has the
/// version zero and ends after it.
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

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.run_blocking("write", move |inner| inner.write(&request))
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
        Ok(state_at(&sessions, key, self.clock.now())?.1)
    }

    /// Reads, and sets the end of a live record. Only one write transaction runs at a time, so the row
    /// cannot change in between.
    fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<ReadOutcome, Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let now = self.clock.now();
        let (_, read) = state_at(&sessions, key, now)?;
        if let ReadOutcome::Found(record) = &read {
            let row = encode_row(now.saturating_add(ttl), record);
            sessions.insert(key.as_bytes().as_slice(), row.as_slice())?;
        }
        drop(sessions);
        write.commit()?;
        Ok(read)
    }

    fn write(&self, request: &WriteRequest) -> Result<WriteOutcome, Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let mut versions = write.open_table(LAST_VERSION)?;
        let now = self.clock.now();
        let (stored_end, stored) = state_at(&sessions, &request.key, now)?;
        let end = match (request.expiry, &stored) {
            (Expiry::After(ttl), _) => now.saturating_add(ttl),
            (Expiry::Keep, ReadOutcome::Found(_)) => stored_end,
            (Expiry::Keep, _) => return Ok(WriteOutcome::Gone),
        };
        match (stored, request.expected) {
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
        let record = Record::new(request.data.clone(), version).tags(request.tags.clone());
        let row = encode_row(end, &record);
        sessions.insert(request.key.as_bytes().as_slice(), row.as_slice())?;
        sweep(&mut sessions, &request.key, now)?;
        drop((sessions, versions));
        write.commit()?;
        Ok(WriteOutcome::Done(version))
    }

    fn destroy(&self, key: &StoreKey) -> Result<(), Error> {
        let write = self.database.begin_write()?;
        let mut sessions = write.open_table(SESSIONS)?;
        let now = self.clock.now();
        let row = encode_tombstone(now.saturating_add(TOMBSTONE_TTL));
        sessions.insert(key.as_bytes().as_slice(), row.as_slice())?;
        sweep(&mut sessions, key, now)?;
        drop(sessions);
        Ok(write.commit()?)
    }
}

/// Returns the end of `key`'s row and its state at `now`. A row that has ended is absent.
fn state_at(
    sessions: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &StoreKey,
    now: Timestamp,
) -> Result<(Timestamp, ReadOutcome), Error> {
    let Some(row) = sessions.get(key.as_bytes().as_slice())? else {
        return Ok((now, ReadOutcome::Absent));
    };
    let (end, version, rest) = decode_row(row.value())?;
    let state = match Version::new(version) {
        _ if end <= now => ReadOutcome::Absent,
        None => ReadOutcome::Gone,
        Some(version) => ReadOutcome::Found(decode_record(version, rest)?),
    };
    Ok((end, state))
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

fn encode_row(end: Timestamp, record: &Record) -> Vec<u8> {
    let (end, version) = (end.as_millis(), record.version.get());
    let tags = record.tags.as_bytes();
    let head = [end, version, tags.len() as u64].map(u64::to_be_bytes);
    [head.as_flattened(), tags, &record.data].concat()
}

fn encode_tombstone(end: Timestamp) -> Vec<u8> {
    [end.as_millis(), TOMBSTONE].map(u64::to_be_bytes).concat()
}

/// Returns a row's end and version, and the rest of the row for [`decode_record`].
fn decode_row(row: &[u8]) -> Result<(Timestamp, u64, &[u8]), Error> {
    let decode = || {
        let (end, row) = split_number(row)?;
        let (version, rest) = split_number(row)?;
        Some((Timestamp::from_millis(end), version, rest))
    };
    decode().ok_or_else(damaged)
}

fn decode_record(version: Version, rest: &[u8]) -> Result<Record, Error> {
    let decode = || {
        let (tags_len, rest) = split_number(rest)?;
        let (tags, data) = rest.split_at_checked(usize::try_from(tags_len).ok()?)?;
        let tags = Tags::from_bytes(Bytes::copy_from_slice(tags))?;
        Some(Record::new(Bytes::copy_from_slice(data), version).tags(tags))
    };
    decode().ok_or_else(damaged)
}

fn split_number(row: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = row.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn damaged() -> Error {
    Error::Corrupted("row of a session is damaged".into())
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbStore")
    }
}
