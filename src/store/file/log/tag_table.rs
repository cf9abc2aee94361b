//! Which tags a session carries, and which sessions carry a tag.

use std::collections::{HashMap, HashSet};

use bytes::{Buf, BufMut};

use super::{frame::HEADER, index::Position};
use crate::{id::StoreKey, store::Tag};

/// Both directions of the same relation. Changed only by whoever holds the log's lock.
#[derive(Default)]
pub(super) struct TagTable {
    by_key: HashMap<StoreKey, Tagged, ahash::RandomState>,
    by_tag: HashMap<Tag, HashSet<StoreKey, ahash::RandomState>, ahash::RandomState>,
}

/// A session's tags, never none, and the frame that said so last.
struct Tagged {
    tags: Vec<Tag>,
    at: Position,
}

impl TagTable {
    /// The tags of `key`.
    pub(super) fn of(&self, key: &StoreKey) -> &[Tag] {
        self.by_key.get(key).map_or(&[], |tagged| &tagged.tags)
    }

    /// The frame that says which tags `key` has.
    pub(super) fn at(&self, key: &StoreKey) -> Option<Position> {
        self.by_key.get(key).map(|tagged| tagged.at)
    }

    /// The frame was copied to another place.
    pub(super) fn moved(&mut self, key: &StoreKey, at: Position) {
        if let Some(tagged) = self.by_key.get_mut(key) {
            tagged.at = at;
        }
    }

    /// Takes all tags off the keys of which `lives` says no.
    pub(super) fn retain(&mut self, lives: impl Fn(&StoreKey) -> bool) {
        let dead: Vec<StoreKey> = self
            .by_key
            .keys()
            .filter(|key| !lives(key))
            .copied()
            .collect();
        for key in dead {
            self.clear(&key);
        }
    }

    /// The keys that carry `tag`.
    pub(super) fn keys(&self, tag: &Tag) -> impl Iterator<Item = &StoreKey> {
        self.by_tag.get(tag).into_iter().flatten()
    }

    /// How many sessions carry a tag.
    pub(super) fn tagged_sessions(&self) -> usize {
        self.by_key.len()
    }

    /// Bytes of the log that all tags together keep alive.
    pub(super) fn weight(&self) -> u64 {
        self.by_key
            .values()
            .map(|tagged| weight(&tagged.tags))
            .sum()
    }

    /// Replaces the tags of `key`; returns the bytes of the log that its former tags kept alive.
    pub(super) fn set(&mut self, key: StoreKey, tags: Vec<Tag>, at: Position) -> u64 {
        let before = self
            .by_key
            .remove(&key)
            .map_or_else(Vec::new, |tagged| tagged.tags);
        for tag in &before {
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
            self.by_key.insert(key, Tagged { tags, at });
        }
        weight(&before)
    }

    /// Takes all tags off `key`; returns the bytes of the log that they kept alive.
    pub(super) fn clear(&mut self, key: &StoreKey) -> u64 {
        if self.by_key.is_empty() {
            return 0;
        }
        self.set(*key, Vec::new(), Position::default())
    }
}

/// Bytes of the log that a set of tags keeps alive. No tags need no frame.
pub(super) fn weight(tags: &[Tag]) -> u64 {
    if tags.is_empty() {
        return 0;
    }
    let names: usize = tags.iter().map(|tag| 2 + tag.as_str().len()).sum();
    (HEADER + names) as u64
}

/// The payload of a frame that sets tags: for each its length in two bytes, then its text.
pub(super) fn encode(tags: &[Tag]) -> Vec<u8> {
    let mut out = Vec::new();
    for tag in tags {
        // A tag is at most 256 bytes long.
        out.put_u16_le(tag.as_str().len() as u16);
        out.put_slice(tag.as_str().as_bytes());
    }
    out
}

/// Reads what [`encode`] wrote; `None` for anything else.
pub(super) fn decode(mut payload: &[u8]) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    while !payload.is_empty() {
        let len = usize::from(payload.try_get_u16_le().ok()?);
        let (name, rest) = payload.split_at_checked(len)?;
        tags.push(Tag::new(std::str::from_utf8(name).ok()?).ok()?);
        payload = rest;
    }
    Some(tags)
}
