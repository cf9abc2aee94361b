//! Rebuilding the index and the tagged keys from the frames of the log.

use std::{collections::HashMap, mem::take};

use super::key_slots::KeySlots;
use crate::{
    clock::Timestamp,
    id::StoreKey,
    random_state::RandomState,
    seal::KeyId,
    store::{
        Tags,
        file::{
            finding::FindingKind,
            format::{
                frame::{FrameHeader, FrameKind},
                payload, version_1,
            },
            log::{
                index::{INDEX_SHARDS, Index, IndexEntry, Position},
                tagged_keys::TaggedKeys,
            },
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
    /// The keys that encrypted the records.
    pub(super) keys: KeySlots,
    /// The greatest version that may have been assigned.
    pub(super) version: u64,
    /// Segments up to this number may be missing.
    pub(super) compacted: u32,
    /// The newest time in the log.
    pub(super) time: Timestamp,
    /// Everything before this position was durable before the last crash, if there was one.
    pub(super) durable: Position,
    /// Damage that no opening has handled yet, in order.
    pending: Vec<Damage>,
    /// Damage that was handled.
    pub(super) handled: Vec<JudgedDamage>,
    /// The last touch of each key that was touched after pending damage. The touch names the version
    /// of the record, so the damage hides no newer state.
    confirmed: HashMap<StoreKey, Position, RandomState>,
    version_1: Version1Tags,
}

/// The tags in the segments of format version 1, where a frame of its own sets the tags of a key. It
/// may come before the key's record, which a compaction has copied.
#[derive(Default)]
struct Version1Tags {
    tags: HashMap<StoreKey, Tags, RandomState>,
    /// The last frame after pending damage that set or cleared the tags of a key.
    confirmed: HashMap<StoreKey, Position, RandomState>,
    /// The number of the last segment of that version.
    last_segment: u32,
}

/// A damaged place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) kind: FindingKind,
    pub(super) position: Position,
    /// The end of the place. No intact frame begins in it.
    pub(super) end: Position,
    /// The key of the damaged frame, if it could be read.
    pub(super) key: Option<StoreKey>,
    /// No power failure explains the damage.
    pub(super) certain: bool,
}

/// Damage, and `true` if it was in a durable part.
pub(super) type JudgedDamage = (Damage, bool);

impl Replay {
    /// Creates the state of an empty log. `first_key` is the key that encrypts new records.
    pub(super) fn new(first_key: Option<KeyId>) -> Self {
        Self {
            index: Index::new(),
            tags: TaggedKeys::default(),
            keys: KeySlots::new(first_key),
            version: 0,
            compacted: 0,
            time: Timestamp::default(),
            durable: Position::default(),
            pending: Vec::new(),
            handled: Vec::new(),
            confirmed: HashMap::default(),
            version_1: Version1Tags::default(),
        }
    }

    /// Applies the frame at `position`. Of the payload it needs only plain tags, or the begin of a sealed
    /// text.
    pub(super) fn apply(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        self.add_durable(position.segment, header.synced);
        match header.kind {
            FrameKind::Write | FrameKind::Destroy => self.set_entry(position, header, payload),
            FrameKind::Touch => self.touch(position, header),
            FrameKind::Open => {
                self.version = self.version.max(header.version);
                self.add_time(header.expires);
            }
            FrameKind::Compacted => {
                let compacted = u32::try_from(header.version).unwrap_or(u32::MAX);
                self.compacted = self.compacted.max(compacted);
            }
            FrameKind::Closed => self.add_time(header.expires),
            FrameKind::Recovered => {
                self.handle_damage(Position::unpack(header.version));
                // Frames may claim more if bytes before them are lost.
                self.durable = self.durable.min(position);
            }
            FrameKind::End | FrameKind::Start | FrameKind::Tags => {}
        }
    }

    /// Applies the frame at `position` in a segment of format version 1.
    pub(super) fn apply_version_1(
        &mut self,
        position: Position,
        header: &FrameHeader,
        payload: &[u8],
    ) {
        let known = &mut self.version_1;
        known.last_segment = position.segment;
        let tags = match header.kind {
            FrameKind::Tags => version_1::decode_tags(payload),
            FrameKind::Destroy => Some(Tags::new()),
            FrameKind::Write if !header.tagged => Some(Tags::new()),
            _ => None,
        };
        if let Some(tags) = tags {
            if tags.is_empty() {
                known.tags.remove(&header.key);
            } else {
                known.tags.insert(header.key, tags);
            }
            if !self.pending.is_empty() {
                known.confirmed.insert(header.key, position);
            }
        }
        let tagged = false;
        self.apply(position, &FrameHeader { tagged, ..*header }, payload);
    }

    /// Lists the records of format version 1 under their tags. Call it after the last segment of that
    /// version.
    pub(super) fn index_version_1_tags(&mut self) {
        for (key, tags) in take(&mut self.version_1.tags) {
            let entry = self.index.get(&key).filter(|entry| !entry.tombstone);
            if let Some(entry) = entry {
                let tagged = true;
                self.index.insert(key, IndexEntry { tagged, ..entry });
                self.tags.set(&key, &tags);
            }
        }
    }

    /// Records that a segment was durable up to an offset, or 0, which says nothing.
    pub(super) fn add_durable(&mut self, segment: u32, offset: u32) {
        if offset > 0 {
            self.durable = self.durable.max(Position { segment, offset });
        }
    }

    fn add_time(&mut self, time: Timestamp) {
        if time < Timestamp::MAX {
            self.time = self.time.max(time);
        }
    }

    /// Records damage, in the order of the log.
    pub(super) fn add_damage(&mut self, damage: Damage) {
        self.pending.push(damage);
    }

    fn set_entry(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        self.version = self.version.max(header.version);
        let mut entry = IndexEntry::new(header, position);
        if header.encrypted {
            entry.key_slot = self.keys.slot_of(payload);
        }
        let previous = self.index.insert(header.key, entry);
        let plain = payload::head(payload).filter(|_| header.has_plain_tags());
        if let Some(tags) = plain.and_then(payload::tags) {
            self.tags.set(&header.key, &tags);
        } else if previous.is_some_and(|previous| previous.tagged) {
            self.tags.remove(&header.key);
        }
    }

    fn touch(&mut self, position: Position, header: &FrameHeader) {
        let entry = self.index.get(&header.key);
        let is_same_record =
            |entry: &IndexEntry| !entry.tombstone && entry.version == header.version;
        if let Some(entry) = entry.filter(is_same_record) {
            let expires = header.expires;
            self.index
                .insert(header.key, IndexEntry { expires, ..entry });
            if !self.pending.is_empty() {
                self.confirmed.insert(header.key, position);
            }
        }
    }

    fn drop_entries(&mut self, drop: impl Fn(&StoreKey, &IndexEntry) -> bool) -> u64 {
        let mut dropped = 0;
        for shard in 0..INDEX_SHARDS {
            for (key, _) in self.index.drain(shard, &drop) {
                self.tags.remove(&key);
                dropped += 1;
            }
        }
        dropped
    }

    /// Returns the damage that was not handled yet.
    pub(super) fn pending(&self) -> impl Iterator<Item = JudgedDamage> {
        self.pending.iter().map(|damage| self.judge(damage))
    }

    fn judge(&self, damage: &Damage) -> JudgedDamage {
        let was_durable = damage.certain || damage.position < self.durable;
        (*damage, was_durable)
    }

    /// Handles the pending damage, and drops the entries whose last frame is before `uncertain`.
    /// Returns their number.
    ///
    /// If a damaged frame was durable and its key is known, the state of that key is not known. An
    /// older state could be that of a session that was destroyed later, so the key is dropped unless a
    /// later frame sets its state. If the frame was not durable, a power failure interrupted an append
    /// that was never acknowledged as durable, and the older state is valid.
    pub(super) fn handle_damage(&mut self, uncertain: Position) -> u64 {
        for damage in take(&mut self.pending) {
            let (damage, was_durable) = self.judge(&damage);
            let entry = damage.key.and_then(|key| self.index.get(&key));
            if let Some(key) = damage.key
                && was_durable
                && entry.is_some_and(|entry| entry.position < damage.position)
            {
                self.index.remove(&key);
                self.tags.remove(&key);
            }
            self.handled.push((damage, was_durable));
        }
        let confirmed = take(&mut self.confirmed);
        let tags_confirmed = take(&mut self.version_1.confirmed);
        if uncertain == Position::default() {
            return 0;
        }
        let last_of_version_1 = self.version_1.last_segment;
        let is_uncertain = |key: &StoreKey, entry: &IndexEntry| {
            let touched = confirmed.get(key).copied().unwrap_or_default();
            let tags = tags_confirmed.get(key).copied().unwrap_or_default();
            entry.position.max(touched) < uncertain
                || (entry.position.segment <= last_of_version_1 && tags < uncertain)
        };
        self.drop_entries(is_uncertain)
    }
}
