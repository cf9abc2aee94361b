//! Rebuilding index and tags from the frames of the log.

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::file::{
        format::{
            frame::{FrameHeader, FrameKind},
            tags,
        },
        log::{
            index::{INDEX_SHARDS, Index, IndexEntry, Position},
            tag_table::TagTable,
        },
    },
};

/// The state after the frames of a log were applied in order.
///
/// A frame sets a state and never adds to one. Applying a frame twice, as with copies, therefore
/// gives the same state.
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) tags: TagTable,
    /// The greatest version that may have been assigned.
    pub(super) version: u64,
    /// Segments up to this number may be missing.
    pub(super) compacted: u32,
    /// Everything before this position was durable before the last crash, if there was one.
    durable: Position,
}

/// A damaged place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) position: Position,
    pub(super) len: u64,
    /// The key of the damaged frame, if it could be read.
    pub(super) key: Option<StoreKey>,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            index: Index::new(),
            tags: TagTable::default(),
            version: 0,
            compacted: 0,
            durable: Position::default(),
        }
    }
}

impl Replay {
    /// Applies the frame at `position`.
    pub(super) fn apply(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        if header.synced > 0 {
            let offset = header.synced;
            self.durable = self.durable.max(Position { offset, ..position });
        }
        match header.kind {
            FrameKind::Write | FrameKind::Destroy => self.set_entry(position, header),
            FrameKind::Touch => self.touch(header),
            FrameKind::Tags => self.set_tags(position, header, payload),
            FrameKind::Open => self.version = self.version.max(header.version),
            FrameKind::Compacted => {
                let compacted = u32::try_from(header.version).unwrap_or(u32::MAX);
                self.compacted = self.compacted.max(compacted);
            }
            FrameKind::End | FrameKind::Closed | FrameKind::Void => {}
        }
    }

    fn set_entry(&mut self, position: Position, header: &FrameHeader) {
        self.version = self.version.max(header.version);
        let tombstone = header.kind == FrameKind::Destroy;
        let entry = IndexEntry {
            version: header.version,
            expires: header.expires,
            position,
            len: header.len,
            tombstone,
        };
        self.index.insert(header.key, entry);
        if tombstone || header.clears_tags {
            self.tags.clear(&header.key);
        }
    }

    fn touch(&self, header: &FrameHeader) {
        let entry = self.index.get(&header.key);
        let is_same_record =
            |entry: &IndexEntry| !entry.tombstone && entry.version == header.version;
        if let Some(entry) = entry.filter(is_same_record) {
            let expires = header.expires;
            self.index
                .insert(header.key, IndexEntry { expires, ..entry });
        }
    }

    fn set_tags(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        // The key may have no record yet. A compaction may have copied the record to a later position.
        if let Some(tags) = tags::decode(payload) {
            self.tags.set(header.key, tags, position);
        }
    }

    /// Drops expired entries, and tags of keys without a record. Call it after all frames were applied
    /// and all damage was handled. Returns the number of expired entries.
    pub(super) fn drop_dead(&mut self, now: Timestamp) -> u64 {
        let expired = (0..INDEX_SHARDS).map(|shard| {
            let removed = self.index.drain(shard, |_, entry| entry.expires <= now);
            removed.len() as u64
        });
        let expired = expired.sum();
        let index = &self.index;
        self.tags
            .retain(|key| index.get(key).is_some_and(|entry| !entry.tombstone));
        expired
    }

    /// Handles damage after all frames were applied. Returns `true` if the damaged data was durable.
    ///
    /// In that case the state of the damaged frame's key is not known. An older state could be that
    /// of a session that was destroyed later, so the key is dropped unless a later frame sets its
    /// state. Otherwise a power failure interrupted an append that was never acknowledged as
    /// durable, and the older state is valid.
    pub(super) fn handle_damage(&mut self, damage: &Damage) -> bool {
        let was_durable = damage.position < self.durable;
        if let Some(key) = damage.key.filter(|_| was_durable)
            && self
                .index
                .get(&key)
                .is_some_and(|entry| entry.position < damage.position)
        {
            self.index.remove(&key);
            self.tags.clear(&key);
        }
        was_durable
    }
}
