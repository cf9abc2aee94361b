//! The tags of all sessions, in memory.

use std::collections::{HashMap, HashSet};

use super::index::Position;
use crate::{
    id::StoreKey,
    store::{Tag, file::format::tags::frame_len},
};

/// Tags by key and keys by tag. The table is changed only under the log's lock.
#[derive(Default)]
pub(crate) struct TagTable {
    by_key: HashMap<StoreKey, SessionTags, ahash::RandomState>,
    by_tag: HashMap<Tag, HashSet<StoreKey, ahash::RandomState>, ahash::RandomState>,
}

/// The tags of one session, at least one, and the frame that set them.
struct SessionTags {
    tags: Vec<Tag>,
    position: Position,
}

impl TagTable {
    /// Returns the tags of `key`.
    pub(crate) fn tags(&self, key: &StoreKey) -> &[Tag] {
        self.by_key.get(key).map_or(&[], |entry| &entry.tags)
    }

    /// Returns the position of the frame that set the tags of `key`.
    pub(crate) fn position(&self, key: &StoreKey) -> Option<Position> {
        self.by_key.get(key).map(|entry| entry.position)
    }

    /// Sets the position of the frame that set the tags of `key`, after the frame was copied.
    pub(crate) fn set_position(&mut self, key: &StoreKey, position: Position) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.position = position;
        }
    }

    /// Removes the tags of all keys for which `is_live` returns `false`.
    pub(crate) fn retain(&mut self, is_live: impl Fn(&StoreKey) -> bool) {
        let dead: Vec<StoreKey> = self
            .by_key
            .keys()
            .filter(|key| !is_live(key))
            .copied()
            .collect();
        for key in dead {
            self.clear(&key);
        }
    }

    /// Iterates over the keys that have `tag`.
    pub(crate) fn keys(&self, tag: &Tag) -> impl Iterator<Item = &StoreKey> {
        self.by_tag.get(tag).into_iter().flatten()
    }

    /// Returns the number of sessions that have a tag.
    pub(crate) fn tagged_sessions(&self) -> usize {
        self.by_key.len()
    }

    /// Returns the length of all frames that hold tags in use.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.by_key
            .values()
            .map(|entry| frame_len(&entry.tags))
            .sum()
    }

    /// Replaces the tags of `key`; returns the length of the frame that held the previous ones.
    pub(crate) fn set(&mut self, key: StoreKey, tags: Vec<Tag>, position: Position) -> u64 {
        let previous = self
            .by_key
            .remove(&key)
            .map_or_else(Vec::new, |entry| entry.tags);
        for tag in &previous {
            if let Some(keys) = self.by_tag.get_mut(tag) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_tag.remove(tag);
                }
            }
        }
        for tag in &tags {
            self.by_tag.entry(tag.clone()).or_default().insert(key);
        }
        if !tags.is_empty() {
            self.by_key.insert(key, SessionTags { tags, position });
        }
        frame_len(&previous)
    }

    /// Removes the tags of `key`; returns the length of the frame that held them.
    pub(crate) fn clear(&mut self, key: &StoreKey) -> u64 {
        if self.by_key.is_empty() {
            return 0;
        }
        self.set(*key, Vec::new(), Position::default())
    }
}
