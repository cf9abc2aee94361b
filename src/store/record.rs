//! Records, the writes of records, and the outcomes of both.

use std::{fmt, num::NonZeroU64, time::Duration};

use bytes::Bytes;

use super::Tags;
use crate::id::StoreKey;

/// The version of a record: a number that a key never has twice.
///
/// Stores must number below 2⁶³. Every database can hold such a number, and
/// [`MigratingStore`](super::MigratingStore) uses the highest bit to mark which of its two stores a
/// version comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The smallest version.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Returns the version with this number, or `None` for zero.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the version's number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// A live record.
///
/// `Debug` shows the length of the data only, because the data belongs to the visitor.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The data, exactly as written.
    pub data: Bytes,
    /// The session's tags, exactly as written.
    pub tags: Tags,
    /// The version that a write must expect to replace this record.
    pub version: Version,
}

impl Record {
    /// Returns a record of `data` under `version`, without tags.
    pub const fn new(data: Bytes, version: Version) -> Self {
        let tags = Tags::new();
        Self {
            data,
            tags,
            version,
        }
    }

    /// Sets [`tags`](Self#structfield.tags).
    #[must_use]
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("bytes", &self.data.len())
            .field("tags", &self.tags)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A conditional write of a whole record, for [`Store::write`](super::Store::write).
///
/// ```
/// use std::time::Duration;
///
/// use hyper_session::{id::SessionId, store::{Expected, WriteRequest}};
///
/// let key = SessionId::generate()?.store_key();
/// let request = WriteRequest::new(&key, "data", Duration::from_secs(3600), Expected::Absent);
/// assert!(request.tags.is_empty());
/// # Ok::<(), hyper_session::id::EntropyError>(())
/// ```
///
/// `Debug` shows the length of the data only, because the data belongs to the visitor.
#[derive(Clone)]
#[non_exhaustive]
pub struct WriteRequest {
    /// The key of the record.
    pub key: StoreKey,
    /// The new data.
    pub data: Bytes,
    /// The complete new list of tags.
    pub tags: Tags,
    /// The new expiry.
    pub expiry: Expiry,
    /// The stored state that the write requires.
    pub expected: Expected,
}

impl WriteRequest {
    /// Returns a write of `data` without tags. A [`Duration`] is an expiry of that long from now.
    pub fn new(
        key: &StoreKey,
        data: impl Into<Bytes>,
        expiry: impl Into<Expiry>,
        expected: Expected,
    ) -> Self {
        Self {
            key: *key,
            data: data.into(),
            tags: Tags::new(),
            expiry: expiry.into(),
            expected,
        }
    }

    /// Sets [`tags`](Self#structfield.tags).
    #[must_use]
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }
}

impl fmt::Debug for WriteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteRequest")
            .field("key", &self.key)
            .field("bytes", &self.data.len())
            .field("tags", &self.tags)
            .field("expiry", &self.expiry)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

// The enums below are exhaustive. Every store and every caller must handle each variant.

/// The expiry that a write gives its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// This long from now.
    After(Duration),
    /// The expiry of the live record that the write replaces. If there is no live record, the
    /// outcome of the write is [`Gone`](WriteOutcome::Gone).
    Keep,
}

impl From<Duration> for Expiry {
    fn from(ttl: Duration) -> Self {
        Self::After(ttl)
    }
}

/// The stored state that a write requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No live record.
    Absent,
    /// A live record of this version.
    Version(Version),
    /// Any state except a tombstone. The write replaces a live record.
    Any,
}

/// The outcome of [`Store::read`](super::Store::read).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A live record.
    Found(Record),
    /// No record, or an expired one.
    Absent,
    /// No record: the session was destroyed, and its tombstone has not ended.
    Gone,
}

/// The outcome of [`Store::write`](super::Store::write).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Written, under this version.
    Done(Version),
    /// Not written: this live record is stored instead of the expected state.
    Conflict(Record),
    /// Not written: the session was destroyed, or the expected record does not exist any more.
    Gone,
}
