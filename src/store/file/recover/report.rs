//! The content of one segment file.

use std::path::PathBuf;

use crate::store::file::format::{
    frames::{Frames, SegmentItem},
    hint,
    segment_head::{self, LogFormat, SegmentHead},
};

/// The content of one segment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentReport {
    /// The file's path; empty for bytes in memory.
    pub path: PathBuf,
    /// The file's length in bytes.
    pub bytes: u64,
    /// `true` if the head is intact. Otherwise no frame can be read.
    pub readable: bool,
    /// The format version, or 0 if the head is damaged.
    pub format: u32,
    /// Number of intact frames.
    pub frames: u64,
    /// Number of damaged places that are followed by a frame.
    pub damaged: u64,
    /// Bytes in these places.
    pub damaged_bytes: u64,
    /// Bytes at the end that are not a frame: the rest of an append that a crash interrupted.
    pub torn_bytes: u64,
    /// `true` if the hint file matches the segment, `None` if there is no hint file.
    pub hint_matches: Option<bool>,
}

/// Returns `true` if the hint is one that a store writes for the segment.
pub(super) fn hint_matches(bytes: &[u8], id: u32, salt: u32, hint: &[u8]) -> bool {
    [
        hint::encode(bytes, id, salt),
        hint::encode_marks(bytes, id, salt),
    ]
    .iter()
    .flatten()
    .any(|expected| expected == hint)
}

impl SegmentReport {
    /// Inspects the bytes of a segment, and those of its hint file.
    // Public only for the fuzz targets.
    #[doc(hidden)]
    pub fn from_bytes(segment: &[u8], hint: Option<&[u8]>) -> Self {
        let mut report = Self {
            bytes: segment.len() as u64,
            ..Self::default()
        };
        let id = segment_head::stored_id(segment);
        if let SegmentHead::Intact(head) = SegmentHead::decode(segment, id) {
            report.readable = true;
            report.format = head.format.version();
            for item in Frames::new(segment, head.salt, head.format) {
                report.count(&item);
            }
            let matches = |hint| hint_matches(segment, id, head.salt, hint);
            let hint = hint.filter(|_| head.format == LogFormat::V2);
            report.hint_matches = hint.map(matches);
        }
        report
    }

    /// Counts one item of the segment.
    pub(super) fn count(&mut self, item: &SegmentItem<'_>) {
        match item {
            SegmentItem::Frame { .. } => self.frames += 1,
            SegmentItem::Damage { len, .. } => {
                self.damaged += 1;
                self.damaged_bytes += len;
            }
            SegmentItem::TornTail { len, .. } => self.torn_bytes = *len,
            SegmentItem::Preallocated { .. } => {}
        }
    }
}
