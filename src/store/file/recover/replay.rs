//! From the frames of the log back to the index.

use super::{
    frame::{Header, Kind},
    index::{Entry, Index, Position, SHARDS},
    tags::{self, TagTable},
};
use crate::{clock::Timestamp, id::StoreKey};

/// The state that a log's frames lead to, applied in the order of the log.
///
/// Applying a frame sets a state and never adds to one, so frames that are seen twice, as copies
/// are, lead to the same end.
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) tags: TagTable,
    /// The greatest version that may have been given.
    pub(super) version: u64,
    /// Segments up to this one may be missing.
    pub(super) cleaned: u32,
    /// Everything before this was durable before the last crash, if there was one.
    pub(super) durable: Position,
}

/// A damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) at: Position,
    pub(super) len: u64,
    /// The key that it was about, if that could be told.
    pub(super) key: Option<StoreKey>,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            index: Index::new(),
            tags: TagTable::default(),
            version: 0,
            cleaned: 0,
            durable: Position::default(),
        }
    }
}

impl Replay {
    /// Applies a frame at offset `at` of segment `id`.
    pub(super) fn frame(&mut self, id: u32, at: u32, header: &Header, payload: &[u8]) {
        let at = Position {
            segment: id,
            offset: at,
        };
        if header.synced > 0 {
            let offset = header.synced;
            self.durable = self.durable.max(Position { offset, ..at });
        }
        match header.kind {
            Kind::Write | Kind::Destroy => self.place(at, header),
            Kind::Touch => self.touch(header),
            Kind::Tags => self.tag(at, header, payload),
            Kind::Open => self.version = self.version.max(header.version),
            Kind::Cleaned => {
                let cleaned = u32::try_from(header.version).unwrap_or(u32::MAX);
                self.cleaned = self.cleaned.max(cleaned);
            }
            Kind::End | Kind::Closed | Kind::Void => {}
        }
    }

    fn place(&mut self, at: Position, header: &Header) {
        self.version = self.version.max(header.version);
        let tombstone = header.kind == Kind::Destroy;
        let entry = Entry {
            version: header.version,
            expires: header.expires,
            at,
            len: header.len,
            tombstone,
        };
        self.index.insert(header.key, entry);
        if tombstone || header.fresh {
            self.tags.clear(&header.key);
        }
    }

    fn touch(&self, header: &Header) {
        let entry = self.index.get(&header.key);
        let of_this = |entry: &Entry| !entry.tombstone && entry.version == header.version;
        if let Some(entry) = entry.filter(of_this) {
            let expires = header.expires;
            self.index.insert(header.key, Entry { expires, ..entry });
        }
    }

    /// The record may be further on, where the cleaner has copied it.
    fn tag(&mut self, at: Position, header: &Header, payload: &[u8]) {
        if let Some(tags) = tags::decode(payload) {
            self.tags.set(header.key, tags, at);
        }
    }

    /// Drops what cannot count any more, once all frames are applied and damage is dealt with.
    pub(super) fn tidy(&mut self, now: Timestamp) -> u64 {
        let expired = (0..SHARDS).map(|shard| {
            let gone = self.index.drain(shard, |_, entry| entry.expires <= now);
            gone.len() as u64
        });
        let expired = expired.sum();
        let index = &self.index;
        self.tags
            .retain(|key| index.get(key).is_some_and(|entry| !entry.tombstone));
        expired
    }

    /// Draws the conclusion from damage, once all frames are applied: whether it hit something
    /// that was durable.
    ///
    /// Then what it said of its key is not known, and an older state of that key could be that of
    /// a session that was logged out since: the key is dropped, unless a later frame told its
    /// state. Otherwise it was an append that a power failure left unfinished, and nobody was ever
    /// told that it was durable: the older state counts.
    pub(super) fn conclude(&mut self, damage: &Damage) -> bool {
        let was_durable = damage.at < self.durable;
        if let Some(key) = damage.key.filter(|_| was_durable)
            && self.index.get(&key).is_some_and(|e| e.at < damage.at)
        {
            self.index.remove(&key);
            self.tags.clear(&key);
        }
        was_durable
    }
}
