//! The entry of one key: a record or a tombstone.

use std::{mem, time::Duration};

use bytes::Bytes;

use super::stats::Weight;
use crate::{
    clock::Timestamp,
    store::{Expected, Expiry, ReadOutcome, Record, Tags, Version, WriteOutcome, WriteRequest},
};

/// The value of the map under one key.
pub(super) enum TableSlot {
    /// A record, perhaps expired.
    Live(LiveRecord),
    /// The tombstone of a destroyed session. It may have ended.
    Tombstone {
        end: Timestamp,
        /// The end in the queue's entry, which is older if the session was destroyed again.
        queued: Timestamp,
    },
}

/// A record with its expiry and its tags.
pub(super) struct LiveRecord {
    pub(super) data: Bytes,
    pub(super) version: Version,
    pub(super) expires: Timestamp,
    /// The tags of this session. The index lists this key under exactly these names.
    /// Boxed, since most sessions have none.
    tags: Option<Box<Tags>>,
}

/// A record whose data exceeds the limit of the whole store.
#[derive(Debug, thiserror::Error)]
#[error("record is {len} bytes, the limit of the whole store is {limit}; raise `max_bytes`")]
pub(super) struct OversizeRecord {
    pub(super) len: usize,
    pub(super) limit: u64,
}

/// Returns the length of the data and the tags of a record.
pub(super) fn record_len(request: &WriteRequest) -> usize {
    request.data.len() + request.tags.as_bytes().len()
}

/// The state of a slot at one moment.
#[derive(Clone, Copy)]
pub(super) enum SlotState<'s> {
    Live(&'s LiveRecord),
    Gone,
    Absent,
}

impl TableSlot {
    /// A slot that has always ended.
    pub(super) const ENDED: Self = Self::Tombstone {
        end: Timestamp::from_millis(0),
        queued: Timestamp::from_millis(0),
    };

    /// Returns the state at `now`. An expired record and an ended tombstone are absent.
    pub(super) fn state_at(&self, now: Timestamp) -> SlotState<'_> {
        match self {
            Self::Live(live) if now < live.expires => SlotState::Live(live),
            Self::Tombstone { end, .. } if now < *end => SlotState::Gone,
            Self::Live(_) | Self::Tombstone { .. } => SlotState::Absent,
        }
    }

    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        matches!(self.state_at(now), SlotState::Absent)
    }

    /// Returns the end in the queue's entry of a tombstone.
    pub(super) const fn queued(&self) -> Option<Timestamp> {
        match self {
            Self::Live(_) => None,
            Self::Tombstone { queued, .. } => Some(*queued),
        }
    }

    /// Returns the record if it is live at `now`.
    pub(super) fn live_mut(&mut self, now: Timestamp) -> Option<&mut LiveRecord> {
        match self {
            Self::Live(live) if now < live.expires => Some(live),
            Self::Live(_) | Self::Tombstone { .. } => None,
        }
    }

    /// Returns the record, even if it has expired, if there is one and it has no tags.
    pub(super) fn untagged_mut(&mut self) -> Option<&mut LiveRecord> {
        match self {
            Self::Live(live) if live.tags.is_none() => Some(live),
            Self::Live(_) | Self::Tombstone { .. } => None,
        }
    }

    /// Returns the tags that the index lists the key under, even if the record has expired.
    pub(super) fn tags(&self) -> Option<&Tags> {
        match self {
            Self::Live(live) => live.tags.as_deref(),
            Self::Tombstone { .. } => None,
        }
    }

    pub(super) fn weight(&self) -> Weight {
        match self {
            Self::Live(live) => live.weight(),
            Self::Tombstone { .. } => Weight {
                tombstones: 1,
                ..Weight::default()
            },
        }
    }
}

impl LiveRecord {
    pub(super) fn new(data: Bytes, tags: Tags, version: Version, expires: Timestamp) -> Self {
        let tags = (!tags.is_empty()).then(|| Box::new(tags));
        Self {
            data,
            version,
            expires,
            tags,
        }
    }

    pub(super) fn record(&self) -> Record {
        let tags = self.tags.as_deref().cloned();
        Record::new(self.data.clone(), self.version).tags(tags.unwrap_or_default())
    }

    /// Replaces everything but the tags. Returns the former data.
    pub(super) fn replace(&mut self, data: Bytes, version: Version, expires: Timestamp) -> Bytes {
        (self.version, self.expires) = (version, expires);
        mem::replace(&mut self.data, data)
    }

    pub(super) fn touch(&mut self, now: Timestamp, ttl: Duration) {
        self.expires = now.saturating_add(ttl);
    }

    pub(super) fn has_tag(&self, name: &str) -> bool {
        self.tags.as_ref().is_some_and(|tags| tags.contains(name))
    }

    pub(super) fn weight(&self) -> Weight {
        let tags = self.tags.as_ref().map_or(0, |tags| tags.as_bytes().len());
        Weight {
            records: 1,
            bytes: (self.data.len() + tags) as u64,
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

    /// Returns the end of a record that is written at `now`. If the write may not be applied, returns
    /// its outcome.
    pub(super) fn check_write(
        self,
        expected: Expected,
        expiry: Expiry,
        now: Timestamp,
    ) -> Result<Timestamp, WriteOutcome> {
        let end = match (self, expiry) {
            (Self::Gone, _) | (Self::Absent, Expiry::Keep) => return Err(WriteOutcome::Gone),
            (Self::Live(live), Expiry::Keep) => live.expires,
            (_, Expiry::After(ttl)) => now.saturating_add(ttl),
        };
        match (self, expected) {
            (Self::Absent | Self::Gone, Expected::Version(_)) => Err(WriteOutcome::Gone),
            (Self::Live(live), Expected::Version(version)) if version == live.version => Ok(end),
            (Self::Live(live), Expected::Version(_) | Expected::Absent) => {
                Err(WriteOutcome::Conflict(live.record()))
            }
            (_, Expected::Any) | (Self::Absent | Self::Gone, Expected::Absent) => Ok(end),
        }
    }
}
