//! The limit on disk space, and the rules that keep it.
//!
//! With `live` bytes of frames in use and the configured segment length `segment`, the files take at
//! most `2 * live + segment` bytes. A mutation is appended only if the reserve is still free
//! afterwards: the space that the compaction of one segment may take. A compaction therefore never
//! exceeds the limit, and it frees at least what it took. A hint file takes room like a mutation.
//! Preallocated zeros leave the reserve free, too. A mutation without room beside them frees them. An
//! entry that expired stays in use until its frame can become garbage within the same rule.

use crate::store::file::format::{
    frame::HEADER_LEN, segment_end::SegmentEnd, segment_head::SEGMENT_HEAD_LEN,
};

/// Segments are shorter than configured while there is little data, down to this length.
const MIN_SEGMENT_LEN: u64 = 1024;

/// Space that an append may take beyond its frames: an open frame, the end frame of the active
/// segment, and the head and start frame of the next one.
const APPEND_OVERHEAD: u64 = (3 * HEADER_LEN + SegmentEnd::LEN + SEGMENT_HEAD_LEN) as u64;

/// Space that a compaction may take beyond its copies: frames about the deleted segment, and heads, start and
/// end frames of the segments with the copies.
const COMPACTION_OVERHEAD: u64 = 4096;

/// The part of this overhead that the compaction of a segment without garbage does not free.
const SEGMENT_OVERHEAD: u64 = 256;

/// Disk usage of the log, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpaceUsage {
    /// All segment and hint files.
    pub(crate) total: u64,
    /// The frames that the index points to.
    pub(crate) live: u64,
    /// Length of the longest segment.
    pub(crate) longest: u64,
    /// Number of segments.
    pub(crate) segments: u64,
    /// Maximum length of a segment, as configured.
    pub(crate) segment: u64,
}

impl SpaceUsage {
    /// Returns the maximum size of all files.
    pub(crate) const fn limit(self) -> u64 {
        self.live.saturating_mul(2).saturating_add(self.segment)
    }

    /// Returns the length at which the active segment ends: an eighth of the allowed garbage.
    ///
    /// The active segment and the copies out of one segment are then small compared to the limit.
    pub(crate) fn roll_len(self) -> u64 {
        let len = self.live.saturating_add(self.segment) / 8;
        len.clamp(MIN_SEGMENT_LEN.min(self.segment), self.segment)
    }

    /// Returns the space that the compaction of any segment may take.
    fn reserve(self) -> u64 {
        let copies = self.live.min(self.longest.max(self.roll_len()));
        copies + COMPACTION_OVERHEAD + self.segments * SEGMENT_OVERHEAD
    }

    const fn garbage(self) -> u64 {
        self.total.saturating_sub(self.live)
    }

    /// Returns the garbage that mutations may leave.
    fn max_garbage(self) -> u64 {
        let allowed = self.live.saturating_add(self.segment);
        allowed.saturating_sub(self.reserve())
    }

    /// Returns the space that mutations may still take.
    pub(crate) fn room(self) -> u64 {
        self.max_garbage().saturating_sub(self.garbage())
    }

    /// Returns the space up to the limit, the reserve included.
    pub(crate) fn free(self) -> u64 {
        self.limit().saturating_sub(self.total)
    }

    /// Returns `true` if the files leave the reserve free.
    pub(crate) fn fits(self) -> bool {
        self.garbage() <= self.max_garbage()
    }

    /// Returns the usage after an append of `bytes` of frames to a segment of `tail` bytes.
    pub(crate) fn after_append(self, tail: u64, bytes: u64) -> Self {
        Self {
            total: self.total + bytes + APPEND_OVERHEAD,
            longest: self.longest.max(tail + bytes + APPEND_OVERHEAD),
            ..self
        }
    }

    /// Returns the usage after `added` bytes of frames came into use and `removed` bytes went out of
    /// use.
    pub(crate) const fn after_change(self, added: u64, removed: u64) -> Self {
        let live = (self.live + added).saturating_sub(removed);
        Self { live, ..self }
    }

    /// Returns `true` if the garbage exceeds five eighths of what is allowed. An earlier compaction would copy
    /// more, since less of a segment is garbage.
    pub(crate) fn needs_compaction(self) -> bool {
        self.garbage() > self.max_garbage() / 8 * 5
    }

    /// Returns `true` if mutations may soon have to wait for a compaction.
    pub(crate) fn is_tight(self) -> bool {
        self.garbage() > self.max_garbage() / 4 * 3
    }
}
