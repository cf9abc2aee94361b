//! Frames that show that damage before them hides no newer state of a session.

use std::collections::HashMap;

use crate::{
    id::StoreKey,
    random_state::RandomState,
    store::file::log::index::{IndexEntry, Position},
};

/// The last frames that confirmed the state of each key.
///
/// Only frames after damage are recorded, unless all are.
#[derive(Default)]
pub(super) struct Confirmations {
    /// Record all frames.
    all: bool,
    /// A touch names the version of the record.
    touches: HashMap<StoreKey, Position, RandomState>,
    /// Frames of format version 1 that set or cleared the tags of a key. There, a frame of its own sets them.
    tags: HashMap<StoreKey, Position, RandomState>,
    /// The number of the last segment of format version 1.
    last_of_version_1: u32,
    /// The last frame that was not recorded.
    missed: Position,
}

impl Confirmations {
    /// Creates an empty state. With `all` it records all frames.
    pub(super) fn new(all: bool) -> Self {
        Self {
            all,
            ..Self::default()
        }
    }

    /// Returns `true` if it records all frames.
    pub(super) const fn records_all(&self) -> bool {
        self.all
    }

    /// Records a touch of the current version.
    pub(super) fn add_touch(&mut self, key: StoreKey, position: Position) {
        self.touches.insert(key, position);
    }

    /// Records a frame of format version 1 that set or cleared the tags of `key`.
    pub(super) fn add_tags(&mut self, key: StoreKey, position: Position) {
        self.tags.insert(key, position);
    }

    /// Records a segment of format version 1.
    pub(super) const fn add_version_1(&mut self, segment: u32) {
        self.last_of_version_1 = segment;
    }

    /// Records that a frame at `position` is not recorded.
    pub(super) const fn skip(&mut self, position: Position) {
        self.missed = position;
    }

    /// Returns `true` if no frame from `position` on was missed.
    pub(super) fn is_complete_from(&self, position: Position) -> bool {
        self.missed < position
    }

    /// Returns the position of the last frame that set or confirmed all of the key's state.
    pub(super) fn last_change(&self, key: &StoreKey, entry: &IndexEntry) -> Position {
        let touched = self.touches.get(key).copied().unwrap_or_default();
        let last = entry.position.max(touched);
        if entry.position.segment > self.last_of_version_1 {
            return last;
        }
        let tags = self.tags.get(key).copied().unwrap_or_default();
        last.min(tags)
    }

    /// Forgets all frames up to `position`, unless all are recorded.
    pub(super) fn clear(&mut self, position: Position) {
        if !self.all {
            self.touches.clear();
            self.tags.clear();
            self.missed = position;
        }
    }
}
