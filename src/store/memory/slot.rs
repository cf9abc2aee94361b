//! What stands under one key, and what a write may do about it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::stats::Weight;
use crate::{
    clock::Timestamp,
    store::{Expected, ReadOutcome, Record, Version, WriteOutcome},
};

/// What the map holds under a key.
pub(super) enum Slot {
    /// A record, perhaps expired.
    Live(Live),
    /// A destroyed session's tombstone, perhaps at its end.
    Tomb(Timestamp),
}

/// A record with its expiry and its tags.
pub(super) struct Live {
    pub(super) data: Bytes,
    pub(super) version: Version,
    pub(super) expires: Timestamp,
    /// The tags of this session. The index lists this key under exactly these names.
    /// Boxed, since most sessions of most services have none.
    pub(super) tags: Option<Box<Tags>>,
}

/// The names a session carries, each once, shared with the index.
#[derive(Default)]
pub(super) struct Tags(pub(super) Vec<Arc<str>>);

/// Data longer than all that the store may hold.
#[derive(Debug, thiserror::Error)]
#[error("the record has {len} bytes, and the whole store may hold {limit}: raise max_bytes")]
pub(super) struct OversizeRecord {
    pub(super) len: usize,
    pub(super) limit: u64,
}

/// What is true of a key at one moment.
#[derive(Clone, Copy)]
pub(super) enum Standing<'s> {
    Live(&'s Live),
    Gone,
    Absent,
}

impl Slot {
    /// What this slot amounts to at `now`: what is expired is absent.
    pub(super) fn at(&self, now: Timestamp) -> Standing<'_> {
        match self {
            Self::Live(live) if now < live.expires => Standing::Live(live),
            Self::Tomb(end) if now < *end => Standing::Gone,
            Self::Live(_) | Self::Tomb(_) => Standing::Absent,
        }
    }

    /// The record, if it is live at `now`.
    pub(super) fn live_mut(&mut self, now: Timestamp) -> Option<&mut Live> {
        match self {
            Self::Live(live) if now < live.expires => Some(live),
            Self::Live(_) | Self::Tomb(_) => None,
        }
    }

    /// Takes the tags off the record; a tombstone has none.
    pub(super) fn take_tags(&mut self) -> Option<Box<Tags>> {
        match self {
            Self::Live(live) => live.tags.take(),
            Self::Tomb(_) => None,
        }
    }

    pub(super) fn weight(&self) -> Weight {
        match self {
            Self::Live(live) => live.weight(),
            Self::Tomb(_) => Weight {
                tombstones: 1,
                ..Weight::default()
            },
        }
    }
}

impl Live {
    /// A record without tags.
    pub(super) const fn new(data: Bytes, version: Version, expires: Timestamp) -> Self {
        Self {
            data,
            version,
            expires,
            tags: None,
        }
    }

    pub(super) fn record(&self) -> Record {
        Record {
            data: self.data.clone(),
            version: self.version,
        }
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

impl Standing<'_> {
    pub(super) fn read(self) -> ReadOutcome {
        match self {
            Self::Live(live) => ReadOutcome::Found(live.record()),
            Self::Gone => ReadOutcome::Gone,
            Self::Absent => ReadOutcome::Absent,
        }
    }

    /// Whether a write that expects `expected` may go ahead; if not, its answer.
    pub(super) fn admit(self, expected: Expected) -> Result<(), WriteOutcome> {
        match (self, expected) {
            (Self::Gone, _) | (Self::Absent, Expected::Version(_)) => Err(WriteOutcome::Gone),
            (Self::Absent, _) | (Self::Live(_), Expected::Any) => Ok(()),
            (Self::Live(live), Expected::Version(version)) if version == live.version => Ok(()),
            (Self::Live(live), _) => Err(WriteOutcome::Conflict(live.record())),
        }
    }
}
