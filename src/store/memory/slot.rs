//! The entry of one key: a record or a tombstone.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::stats::Weight;
use crate::{
    clock::Timestamp,
    store::{Expected, ReadOutcome, Record, Version, WriteOutcome},
};

/// The value of the map under one key.
pub(super) enum TableSlot {
    /// A record, perhaps expired.
    Live(LiveRecord),
    /// The tombstone of a destroyed session, with its end. It may have ended.
    Tombstone(Timestamp),
}

/// A record with its expiry and its tags.
pub(super) struct LiveRecord {
    pub(super) data: Bytes,
    pub(super) version: Version,
    pub(super) expires: Timestamp,
    /// The tags of this session. The index lists this key under exactly these names.
    /// Boxed, since most sessions have none.
    pub(super) tags: Option<Box<TagNames>>,
}

/// The names of a session's tags, each once, shared with the index.
#[derive(Default)]
pub(super) struct TagNames(pub(super) Vec<Arc<str>>);

/// A record whose data exceeds the limit of the whole store.
#[derive(Debug, thiserror::Error)]
#[error("record is {len} bytes, the limit of the whole store is {limit}; raise `max_bytes`")]
pub(super) struct OversizeRecord {
    pub(super) len: usize,
    pub(super) limit: u64,
}

/// The state of a slot at one moment.
#[derive(Clone, Copy)]
pub(super) enum SlotState<'s> {
    Live(&'s LiveRecord),
    Gone,
    Absent,
}

impl TableSlot {
    /// Returns the state at `now`. An expired record and an ended tombstone are absent.
    pub(super) fn state_at(&self, now: Timestamp) -> SlotState<'_> {
        match self {
            Self::Live(live) if now < live.expires => SlotState::Live(live),
            Self::Tombstone(end) if now < *end => SlotState::Gone,
            Self::Live(_) | Self::Tombstone(_) => SlotState::Absent,
        }
    }

    /// Returns the record if it is live at `now`.
    pub(super) fn live_mut(&mut self, now: Timestamp) -> Option<&mut LiveRecord> {
        match self {
            Self::Live(live) if now < live.expires => Some(live),
            Self::Live(_) | Self::Tombstone(_) => None,
        }
    }

    pub(super) fn take_tags(&mut self) -> Option<Box<TagNames>> {
        match self {
            Self::Live(live) => live.tags.take(),
            Self::Tombstone(_) => None,
        }
    }

    pub(super) fn weight(&self) -> Weight {
        match self {
            Self::Live(live) => live.weight(),
            Self::Tombstone(_) => Weight {
                tombstones: 1,
                ..Weight::default()
            },
        }
    }
}

impl LiveRecord {
    /// Returns a record without tags.
    pub(super) const fn new(data: Bytes, version: Version, expires: Timestamp) -> Self {
        Self {
            data,
            version,
            expires,
            tags: None,
        }
    }

    pub(super) fn record(&self) -> Record {
        Record::new(self.data.clone(), self.version)
    }

    pub(super) fn touch(&mut self, now: Timestamp, ttl: Duration) {
        self.expires = now.saturating_add(ttl);
    }

    pub(super) fn has_tag(&self, name: &str) -> bool {
        self.tag_names().iter().any(|tag| **tag == *name)
    }

    pub(super) fn tag_names(&self) -> &[Arc<str>] {
        self.tags.as_deref().map_or(&[], |tags| &tags.0)
    }

    pub(super) fn weight(&self) -> Weight {
        let names: usize = self.tag_names().iter().map(|tag| tag.len()).sum();
        Weight {
            records: 1,
            bytes: (self.data.len() + names) as u64,
            ..Weight::default()
        }
    }
}

impl SlotState<'_> {
    pub(super) fn read_outcome(self) -> ReadOutcome {
        match self {
            Self::Live(live) => ReadOutcome::Found(live.record()),
            Self::Gone => ReadOutcome::Gone,
            Self::Absent => ReadOutcome::Absent,
        }
    }

    /// Returns `Ok` if a write that expects `expected` may be applied, or else its outcome.
    pub(super) fn check_write(self, expected: Expected) -> Result<(), WriteOutcome> {
        match (self, expected) {
            (Self::Gone, _) | (Self::Absent, Expected::Version(_)) => Err(WriteOutcome::Gone),
            (Self::Absent, _) | (Self::Live(_), Expected::Any) => Ok(()),
            (Self::Live(live), Expected::Version(version)) if version == live.version => Ok(()),
            (Self::Live(live), _) => Err(WriteOutcome::Conflict(live.record())),
        }
    }
}
