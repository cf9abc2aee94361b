//! Rebuilding the index and the tagged keys from the frames of the log.

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::file::{
        format::{
            frame::{FrameHeader, FrameKind},
            payload,
        },
        log::{
            index::{INDEX_SHARDS, Index, IndexEntry, Position},
            tagged_keys::TaggedKeys,
        },
    },
};

/// The state after the frames of a log were applied in order.
///
/// A frame sets a state and never adds to one. Applying a frame twice, as with copies, therefore
/// gives the same state.
pub(super) struct Replay {
    pub(super) index: Index,
    /// The tags of the index's records, except of encrypted ones.
    pub(super) tags: TaggedKeys,
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
            tags: TaggedKeys::default(),
            version: 0,
            compacted: 0,
            durable: Position::default(),
        }
    }
}

impl Replay {
    /// Applies the frame at `position`. Of the payload it needs only plain tags.
    pub(super) fn apply(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        if header.synced > 0 {
            let offset = header.synced;
            self.durable = self.durable.max(Position { offset, ..position });
        }
        match header.kind {
            FrameKind::Write | FrameKind::Destroy => self.set_entry(position, header, payload),
            FrameKind::Touch => self.touch(header),
            FrameKind::Open => self.version = self.version.max(header.version),
            FrameKind::Compacted => {
                let compacted = u32::try_from(header.version).unwrap_or(u32::MAX);
                self.compacted = self.compacted.max(compacted);
            }
            FrameKind::End | FrameKind::Closed | FrameKind::Void => {}
        }
    }

    fn set_entry(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        self.version = self.version.max(header.version);
        let entry = IndexEntry::new(header, position);
        let previous = self.index.insert(header.key, entry);
        let plain = payload::head(payload).filter(|_| header.has_plain_tags());
        if let Some(tags) = plain.and_then(payload::tags) {
            self.tags.set(&header.key, &tags);
        } else if previous.is_some_and(|previous| previous.tagged) {
            self.tags.remove(&header.key);
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

    /// Drops expired entries. Call it after all frames were applied and all damage was handled.
    /// Returns their number.
    pub(super) fn drop_expired(&mut self, now: Timestamp) -> u64 {
        let mut expired = 0;
        for shard in 0..INDEX_SHARDS {
            for (key, _) in self.index.drain(shard, |_, entry| entry.expires <= now) {
                self.tags.remove(&key);
                expired += 1;
            }
        }
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
            self.tags.remove(&key);
        }
        was_durable
    }
}
