//! Records, and the outcomes of reading and writing them.

use std::num::NonZeroU64;

use bytes::Bytes;

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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The data, exactly as written.
    pub data: Bytes,
    /// The version that a write must expect to replace this record.
    pub version: Version,
}

impl Record {
    /// Returns a record of `data` under `version`.
    pub const fn new(data: Bytes, version: Version) -> Self {
        Self { data, version }
    }
}

// The three enums below are exhaustive. Every store and every caller must handle each variant.

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
