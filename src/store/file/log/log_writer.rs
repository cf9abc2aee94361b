//! The end of the log: the active segment and its state.

use std::{io, mem::take, sync::Arc};

use super::{index::Position, segment::Segment, space::SpaceUsage, tagged_keys::TaggedKeys};
use crate::{
    clock::Timestamp,
    store::file::format::{
        frame::{FrameHeader, FrameKind, running_checksum},
        segment_end::SegmentEnd,
        segment_head::SEGMENT_HEAD_LEN,
    },
};

/// The end of a log that an opening found.
pub(crate) struct LogEnd {
    /// The segment to append to.
    pub(crate) active: Arc<Segment>,
    /// The empty segment after it, if it exists.
    pub(crate) next: Option<Arc<Segment>>,
    /// The end of the active segment's frames.
    pub(crate) tail: u64,
    /// The running checksum of the active segment's frames.
    pub(crate) checksum: u32,
    /// The end of the segment before an active segment without frames.
    pub(crate) previous: Option<SegmentEnd>,
}

/// The state that the log's lock protects.
pub(crate) struct LogWriter {
    /// The segment that frames are appended to.
    pub(super) active: Arc<Segment>,
    /// The end of the active segment's frames. Only zeros follow, since a failed append is cut off.
    pub(super) tail: u64,
    /// Number of zeros after `tail` that are allocated for future frames.
    pub(super) preallocated: u64,
    /// The running checksum of the active segment's frames.
    checksum: u32,
    /// The running checksum that includes the staged frames.
    staged_checksum: u32,
    /// The end of the segment before the active one, for the active segment's first frame.
    previous: Option<SegmentEnd>,
    /// The segment after the active one, created early so that no writer waits for it.
    pub(super) next: Option<Arc<Segment>>,
    /// The maintenance thread is creating the next segment.
    pub(super) creating_next: bool,
    /// Segments that have ended and are not synced yet, in order.
    pub(super) unsynced: Vec<Arc<Segment>>,
    /// The version that was assigned last.
    version: u64,
    /// Disk usage of the whole log.
    pub(super) usage: SpaceUsage,
    /// The sessions that have tags.
    pub(crate) tags: TaggedKeys,
    /// The log has no durable open frame since the store was opened.
    pub(super) needs_open_frame: bool,
    /// All frames before this position are durable. Updated before frames are staged.
    pub(super) durable: Position,
    /// The newest time in the log.
    pub(super) recorded_time: Timestamp,
    /// Sessions expired after that time, and were found to have expired.
    pub(crate) has_unrecorded_expiry: bool,
    /// Encoded frames that are not written yet; empty between appends.
    pub(super) staged: Vec<u8>,
    /// Offset and checksum of the last staged frame.
    staged_frame: (u32, u32),
    /// The time in the staged frames, if any.
    staged_time: Option<Timestamp>,
    /// The segment of the last compacted frame that was appended since the store was opened.
    pub(crate) compacted: u32,
}

impl LogWriter {
    /// Creates the state of a log with this end. The segments in `unsynced` may not be durable yet;
    /// `version` is the greatest version that may have been assigned.
    pub(crate) fn new(
        end: LogEnd,
        unsynced: Vec<Arc<Segment>>,
        version: u64,
        usage: SpaceUsage,
        tags: TaggedKeys,
    ) -> Self {
        Self {
            active: end.active,
            tail: end.tail,
            preallocated: 0,
            checksum: end.checksum,
            staged_checksum: end.checksum,
            previous: end.previous,
            next: end.next,
            creating_next: false,
            unsynced,
            version,
            usage,
            tags,
            needs_open_frame: true,
            durable: Position::default(),
            recorded_time: Timestamp::default(),
            has_unrecorded_expiry: false,
            staged: Vec::new(),
            staged_frame: (0, 0),
            staged_time: None,
            compacted: 0,
        }
    }

    /// Returns the active segment.
    pub(crate) const fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    /// Returns `true` if the active segment has no frame.
    pub(crate) const fn is_active_empty(&self) -> bool {
        self.tail <= SEGMENT_HEAD_LEN as u64
    }

    /// Returns the disk usage of the whole log.
    pub(crate) fn usage(&self) -> SpaceUsage {
        SpaceUsage {
            // The active segment may exceed the length at which it ends.
            longest: self.usage.longest.max(self.tail),
            ..self.usage
        }
    }

    /// Adjusts the length of the frames in use.
    pub(crate) const fn adjust_live(&mut self, added: u64, removed: u64) {
        self.usage = self.usage.after_change(added, removed);
    }

    /// Returns the usage after an append of `bytes` of frames, which replace preallocated zeros first.
    pub(super) fn usage_after_append(&self, bytes: u64) -> SpaceUsage {
        let used = SpaceUsage {
            total: self.usage.total - self.preallocated.min(bytes),
            ..self.usage
        };
        used.after_append(self.tail, bytes)
    }

    /// Returns the version that was assigned last.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Returns a version that no key has had before.
    pub(super) const fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Returns the position of the next frame.
    pub(crate) fn end_position(&self) -> Position {
        let staged = self.staged.len() as u64;
        Position {
            segment: self.active.id,
            // An append beyond 4 GiB fails.
            offset: (self.tail + staged) as u32,
        }
    }

    /// Returns a position that is durable once everything appended so far is durable.
    pub(crate) fn last_position(&self) -> Position {
        let Position { segment, offset } = self.end_position();
        let offset = offset.saturating_sub(1);
        Position { segment, offset }
    }

    /// Truncates the active segment to its frames.
    pub(super) fn truncate_to_tail(&mut self) -> io::Result<()> {
        self.active.file.truncate(self.tail)?;
        self.usage.total -= take(&mut self.preallocated);
        Ok(())
    }

    /// Frees the preallocated space. If that fails, the zeros stay in the file and do no harm.
    pub(super) fn release_preallocated(&mut self) {
        if self.preallocated > 0 && self.truncate_to_tail().is_err() {
            self.preallocated = 0;
        }
    }

    /// Ends the active segment and continues in `next`, which has no frames.
    pub(super) fn begin_segment(&mut self, next: Arc<Segment>) {
        let full = std::mem::replace(&mut self.active, next);
        // A segment is shorter than 4 GiB.
        full.set_end(self.tail as u32);
        full.end_appends();
        self.previous = Some(SegmentEnd {
            id: full.id,
            salt: full.salt,
            offset: full.end(),
            checksum: self.checksum,
            durable: self.durable_offset(full.id),
        });
        self.unsynced.push(full);
        self.tail = SEGMENT_HEAD_LEN as u64;
        (self.checksum, self.staged_checksum) = (0, 0);
    }

    /// Returns the offset up to which segment `id` is durable, or 0 if that is not known.
    fn durable_offset(&self, id: u32) -> u32 {
        if self.durable.segment == id {
            self.durable.offset
        } else {
            0
        }
    }

    /// Encodes a frame into the staging buffer; returns its position. The first frame of a segment
    /// follows a start frame.
    pub(super) fn stage(&mut self, header: &FrameHeader, payload: &[u8]) -> Position {
        if let Some(previous) = self.previous
            && self.is_active_empty()
            && self.staged.is_empty()
        {
            let end = previous.encode();
            let start = FrameHeader::without_key(FrameKind::Start, 0).with_payload(&end);
            self.stage_frame(&start, &end);
        }
        self.stage_frame(header, payload)
    }

    fn stage_frame(&mut self, header: &FrameHeader, payload: &[u8]) -> Position {
        if matches!(header.kind, FrameKind::Open | FrameKind::Closed) {
            self.staged_time = Some(header.expires);
        }
        let position = self.end_position();
        let synced = self.durable_offset(position.segment);
        let header = FrameHeader { synced, ..*header }.encode(self.active.salt);
        let [a, b, c, d, ..] = header;
        self.staged_frame = (position.offset, u32::from_le_bytes([a, b, c, d]));
        self.staged_checksum = running_checksum(self.staged_checksum, &header);
        self.staged.extend_from_slice(&header);
        self.staged.extend_from_slice(payload);
        position
    }

    /// Ends an append: the staged frames are in the file, or none of them is.
    pub(super) fn finish_append(&mut self, written: bool) {
        let time = self.staged_time.take();
        if !written {
            self.staged_checksum = self.checksum;
            return;
        }
        self.checksum = self.staged_checksum;
        let (offset, checksum) = self.staged_frame;
        // A segment is shorter than 4 GiB.
        let end = self.tail as u32;
        self.active.set_last_frame(offset, checksum, end);
        if let Some(time) = time {
            self.recorded_time = time;
            self.has_unrecorded_expiry = false;
        }
    }
}
