//! Rebuilding the index and the tagged keys from the frames of the log.

use std::{
    collections::{HashMap, HashSet},
    iter,
    mem::take,
    ops::RangeInclusive,
};

use super::{
    confirmations::Confirmations,
    damage::{Damage, JudgedDamage},
    index_batch::IndexBatch,
    key_slots::KeySlots,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    random_state::RandomState,
    seal::KeyId,
    store::{
        Tags,
        file::{
            format::{
                damaged_places::{self, DamagedPlace},
                frame::{FrameHeader, FrameKind},
                payload, version_1,
            },
            log::{
                index::{INDEX_SHARDS, Index, IndexChange, IndexEntry, Position},
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
    /// Changes of the index that are not applied yet. Empty while frames are recorded as confirmations.
    batch: IndexBatch,
    /// The earliest expiry in the log.
    pub(super) first_expiry: Timestamp,
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
    /// No open frame follows the last recovered frame.
    pub(super) lacks_open_frame: bool,
    /// Damage that no opening has handled yet, in order.
    pending: Vec<Damage>,
    /// Damage that was handled.
    pub(super) handled: Vec<JudgedDamage>,
    /// The joined places in the recovered frames.
    places: Vec<DamagedPlace>,
    confirmations: Confirmations,
    /// Entries were dropped although frames that may confirm them were not recorded.
    lacks_confirmations: bool,
    /// The tags in the segments of format version 1. The frame that sets them may come before the key's
    /// record, which a compaction has copied.
    version_1_tags: HashMap<StoreKey, Tags, RandomState>,
}

impl Replay {
    /// Creates the state of an empty log. `first_key` is the key that encrypts new records.
    ///
    /// `confirm_all` records all frames as confirmations, not only those after damage.
    pub(super) fn new(first_key: Option<KeyId>, confirm_all: bool) -> Self {
        Self {
            index: Index::new(),
            batch: IndexBatch::default(),
            first_expiry: Timestamp::MAX,
            tags: TaggedKeys::default(),
            keys: KeySlots::new(first_key),
            version: 0,
            compacted: 0,
            time: Timestamp::default(),
            durable: Position::default(),
            lacks_open_frame: false,
            pending: Vec::new(),
            handled: Vec::new(),
            places: Vec::new(),
            confirmations: Confirmations::new(confirm_all),
            lacks_confirmations: false,
            version_1_tags: HashMap::default(),
        }
    }

    /// Applies the frame at `position`. Of the payload it needs only plain tags, or the beginning of a sealed
    /// text.
    pub(super) fn apply(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        self.add_durable(position.segment, header.synced);
        match header.kind {
            FrameKind::Write | FrameKind::Destroy => self.set_entry(position, header, payload),
            FrameKind::Touch => self.touch(position, header),
            FrameKind::Open => {
                self.version = self.version.max(header.version);
                self.add_time(header.expires);
                self.lacks_open_frame = false;
            }
            FrameKind::Compacted => {
                let compacted = u32::try_from(header.version).unwrap_or(u32::MAX);
                self.compacted = self.compacted.max(compacted);
            }
            FrameKind::Closed => self.add_time(header.expires),
            FrameKind::Recovered => {
                self.apply_recovered(position, Position::unpack(header.version), payload);
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
        self.confirmations.add_version_1(position.segment);
        let tags = match header.kind {
            FrameKind::Tags => version_1::decode_tags(payload),
            FrameKind::Destroy => Some(Tags::new()),
            FrameKind::Write if !header.tagged => Some(Tags::new()),
            _ => None,
        };
        if let Some(tags) = tags {
            if tags.is_empty() {
                self.version_1_tags.remove(&header.key);
            } else {
                self.version_1_tags.insert(header.key, tags);
            }
            if self.records_confirmations() {
                self.confirmations.add_tags(header.key, position);
            } else {
                self.confirmations.skip(position);
            }
        }
        let tagged = false;
        self.apply(position, &FrameHeader { tagged, ..*header }, payload);
    }

    /// Lists the records of format version 1 under their tags. Call it after the last segment of that
    /// version.
    pub(super) fn index_version_1_tags(&mut self) {
        if self.version_1_tags.is_empty() {
            return;
        }
        self.batch.apply(&self.index);
        for (key, tags) in take(&mut self.version_1_tags) {
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
        self.batch.apply(&self.index);
        self.pending.push(damage);
    }

    /// Extends the last damage up to `end` if it begins at `position`. Returns `false` if it does not.
    pub(super) fn extend_damage(&mut self, position: Position, end: Position) -> bool {
        match self.pending.last_mut() {
            Some(last) if last.position == position => {
                last.end = last.end.max(end);
                true
            }
            _ => false,
        }
    }

    /// Records damage in front of all frames. Returns `false` if an earlier opening has handled it.
    pub(super) fn add_front_damage(&mut self, damage: Damage) -> bool {
        let Some(place) = damage.find_in(&self.places) else {
            self.add_damage(damage);
            return true;
        };
        self.handled.push((damage, place.durable));
        false
    }

    /// Applies all changes to the index. Call it after the last frame.
    pub(super) fn finish(&mut self) {
        self.batch.apply(&self.index);
        self.batch = IndexBatch::default();
        self.index.shrink();
    }

    fn change_index(&mut self, key: &StoreKey, change: IndexChange) {
        if self.records_confirmations() {
            let shard = Index::shard_of(key);
            self.index.apply(shard, iter::once(change));
        } else {
            self.batch.push(&self.index, key, change);
        }
    }

    /// Returns `true` if touches are recorded, because damage may hide a newer state of the session.
    const fn records_confirmations(&self) -> bool {
        self.confirmations.records_all() || !self.pending.is_empty()
    }

    fn set_entry(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        self.version = self.version.max(header.version);
        let mut entry = IndexEntry::new(header, position);
        if header.encrypted {
            entry.key_slot = self.keys.slot_of(payload);
        }
        self.first_expiry = self.first_expiry.min(header.expires);
        self.change_index(&header.key, IndexChange::Set(header.key, entry));
        let plain = payload::head(payload).filter(|_| header.has_plain_tags());
        if let Some(tags) = plain.and_then(payload::tags) {
            self.tags.set(&header.key, &tags);
        } else if self.tags.len() > 0 {
            self.tags.remove(&header.key);
        }
    }

    fn touch(&mut self, position: Position, header: &FrameHeader) {
        let (version, expires) = (header.version, header.expires);
        self.first_expiry = self.first_expiry.min(expires);
        self.change_index(
            &header.key,
            IndexChange::Touch(header.key, version, expires),
        );
        if !self.records_confirmations() {
            self.confirmations.skip(position);
            return;
        }
        let entry = self.index.get(&header.key);
        let is_same = |entry: IndexEntry| !entry.tombstone && entry.version == version;
        if entry.is_some_and(is_same) {
            self.confirmations.add_touch(header.key, position);
        }
    }

    /// Drops the entries that were set or confirmed last before `uncertain`. Returns their number.
    fn drop_before(&mut self, uncertain: Position) -> u64 {
        if uncertain == Position::default() {
            return 0;
        }
        let confirmations = &self.confirmations;
        let is_uncertain =
            |key: &StoreKey, entry: &IndexEntry| confirmations.last_change(key, entry) < uncertain;
        let mut dropped = 0;
        for shard in 0..INDEX_SHARDS {
            for (key, _) in self.index.drain(shard, is_uncertain) {
                self.tags.remove(&key);
                dropped += 1;
            }
        }
        self.lacks_confirmations |= dropped > 0 && !self.confirmations.is_complete_from(uncertain);
        dropped
    }

    /// Returns the damage that was not handled yet.
    pub(super) fn pending(&self) -> impl Iterator<Item = JudgedDamage> {
        self.pending.iter().map(|damage| {
            let was_durable = damage.certain || damage.position < self.durable;
            (*damage, was_durable)
        })
    }

    fn apply_recovered(&mut self, position: Position, uncertain: Position, payload: &[u8]) {
        let mut places = take(&mut self.places);
        places.extend(damaged_places::decode(payload).unwrap_or_default());
        let places = damaged_places::join(places);
        self.handle_damage(&places, uncertain);
        self.places = places;
        if self.pending.is_empty() {
            self.confirmations.clear(position);
        }
        // Everything before the frame was synced first. Earlier frames may claim more if the end of the log was
        // lost.
        self.durable = position;
        self.lacks_open_frame = true;
    }

    /// Handles the pending damage in `places`, and drops the entries that were set or confirmed last before
    /// `uncertain`. Returns the number of dropped entries.
    ///
    /// If a damaged frame was durable and its key is known, the state of that key is not known. An
    /// older state could be that of a session that was destroyed later, so the key is dropped unless a
    /// later frame sets or confirms its state. If the frame was not durable, a power failure interrupted an
    /// append that was never acknowledged as durable, and the older state is valid.
    pub(super) fn handle_damage(&mut self, places: &[DamagedPlace], uncertain: Position) -> u64 {
        self.batch.apply(&self.index);
        let mut dropped = 0;
        for damage in take(&mut self.pending) {
            let Some(place) = damage.find_in(places) else {
                self.pending.push(damage);
                continue;
            };
            self.handled.push((damage, place.durable));
            let last = damage.key.and_then(|key| {
                let entry = self.index.get(&key)?;
                Some((key, self.confirmations.last_change(&key, &entry)))
            });
            if let Some((key, last)) = last
                && place.durable
                && last < damage.position
            {
                self.index.remove(&key);
                self.tags.remove(&key);
                dropped += 1;
            }
        }
        dropped + self.drop_before(uncertain)
    }

    /// Returns the segments in which an earlier opening found damage and this scan did not.
    pub(super) fn unmatched_segments(&self) -> Vec<RangeInclusive<u32>> {
        let found = self.handled.iter().filter_map(|(damage, _)| {
            let place = damage.find_in(&self.places);
            place.map(|place| place.begin)
        });
        let found: HashSet<u64, RandomState> = found.collect();
        let unmatched = self
            .places
            .iter()
            .filter(|place| !found.contains(&place.begin));
        let segment = |position| Position::unpack(position).segment;
        let ranges = unmatched.map(|place| segment(place.begin)..=segment(place.end - 1));
        ranges.collect()
    }

    /// Returns `true` if an entry was dropped although a frame that was not recorded may confirm it.
    pub(super) const fn lacks_confirmations(&self) -> bool {
        self.lacks_confirmations
    }
}
