//! From the frames of the log back to the index.

use super::{
    frame::{Header, Kind},
    index::{Entry, Index, Position},
    scan::Piece,
    tags::{self, TagTable},
};
use crate::id::Key;

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
}

/// What a pass over one segment found beside frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The segment has an end mark, so there is one after it.
    pub(super) ended: bool,
    /// Where an unfinished append begins, and its length.
    pub(super) torn: Option<(u32, u64)>,
}

impl Replay {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(),
            tags: TagTable::default(),
            version: 0,
            cleaned: 0,
        }
    }

    /// Applies a piece of segment `id`; damage is handed to `damaged` as offset and length.
    pub(super) fn piece(
        &mut self,
        id: u32,
        piece: Piece<'_>,
        findings: &mut Findings,
        mut damaged: impl FnMut(u32, u64),
    ) {
        match piece {
            Piece::Frame {
                at,
                header,
                payload,
            } => self.frame(id, at, &header, payload, findings),
            Piece::Damage { at, len, key } => {
                damaged(at, len);
                // What the damaged frame said is not known. An older state of the key could be
                // that of a session that was logged out since, so it is not served either.
                if let Some(key) = key {
                    self.forget(&key);
                }
            }
            Piece::Torn { at, len } => findings.torn = Some((at, len)),
        }
    }

    /// Applies a frame at offset `at` of segment `id`.
    pub(super) fn frame(
        &mut self,
        id: u32,
        at: u32,
        header: &Header,
        payload: &[u8],
        findings: &mut Findings,
    ) {
        let at = Position {
            segment: id,
            offset: at,
        };
        match header.kind {
            Kind::Write | Kind::Destroy => self.place(at, header),
            Kind::Touch => self.touch(header),
            Kind::Tags => self.tag(header, payload),
            Kind::Open => self.version = self.version.max(header.version),
            Kind::Cleaned => {
                let cleaned = u32::try_from(header.version).unwrap_or(u32::MAX);
                self.cleaned = self.cleaned.max(cleaned);
            }
            Kind::End => findings.ended = true,
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

    fn tag(&mut self, header: &Header, payload: &[u8]) {
        let live = self.index.get(&header.key).is_some_and(|e| !e.tombstone);
        if let Some(tags) = tags::decode(payload).filter(|_| live) {
            self.tags.set(header.key, tags);
        }
    }

    fn forget(&mut self, key: &Key) {
        self.index.remove(key);
        self.tags.clear(key);
    }
}
