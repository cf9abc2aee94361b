//! The segment files of a directory.

use std::io;

use crate::store::file::{
    disk::{Disk, DiskFile},
    error::FileError,
    format::{
        file_names,
        frame::{FrameHeader, HEADER_LEN},
        hint::Hint,
        hint_entry::HintEntry,
        segment_end::SegmentEnd,
        segment_head::{HeadFields, LogFormat, SEGMENT_HEAD_LEN, SegmentHead},
    },
};

/// A segment whose head is intact.
pub(super) struct ScannedSegment {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) len: u64,
    pub(super) salt: u32,
    pub(super) format: LogFormat,
    /// The end of the last frame.
    pub(super) end: u32,
    /// The running checksum of the frames.
    pub(super) checksum: u32,
    /// The segment has an end frame, so another one follows.
    pub(super) ended: bool,
    /// Length of the hint file that was used, or 0.
    pub(super) hint_len: u64,
}

impl ScannedSegment {
    pub(super) fn new(file: Box<dyn DiskFile>, len: u64, head: HeadFields) -> Self {
        Self {
            file,
            len,
            salt: head.salt,
            format: head.format,
            end: head.format.head_len() as u32,
            checksum: 0,
            ended: false,
            hint_len: 0,
        }
    }

    /// Returns `true` if frames can be appended.
    pub(super) fn is_open(&self) -> bool {
        !self.ended && self.format == LogFormat::V2
    }

    /// Returns `true` if a hint is about the segment as it is now: it has the segment's length and last frame.
    ///
    /// A length can be the same by chance, if the end was lost and other frames were appended.
    pub(super) fn matches_hint(&self, hint: &Hint<'_>) -> bool {
        let has_last = match &hint.last {
            Some(last) if hint.complete => {
                last.end() == u64::from(hint.end) && self.has_frame(last)
            }
            Some(last) => self.has_frame(last),
            None => !hint.complete,
        };
        hint.segment_len == self.len && has_last
    }

    /// Returns `true` if the frame of a hint entry is in the file.
    fn has_frame(&self, entry: &HintEntry<'_>) -> bool {
        let mut bytes = [0; HEADER_LEN];
        // If this fails, the segment is read, which reports the error.
        let _ = self.file.read_at(&mut bytes, entry.offset.into());
        let found = FrameHeader::decode(&bytes, self.salt, self.format);
        let without_crc = |found| FrameHeader {
            payload_crc: 0,
            ..found
        };
        found.map(without_crc) == Some(entry.header)
    }

    /// Returns the end of segment `id`, for the segment after it.
    pub(super) const fn segment_end(&self, id: u32) -> SegmentEnd {
        SegmentEnd {
            id,
            salt: self.salt,
            offset: self.end,
            checksum: self.checksum,
            durable: 0,
        }
    }
}

/// Reads the head of segment `id`.
pub(super) fn decode_head(id: u32, file: &dyn DiskFile) -> io::Result<SegmentHead> {
    let mut head = [0; SEGMENT_HEAD_LEN];
    file.read_at(&mut head, 0)?;
    Ok(SegmentHead::decode(&head, id))
}

/// Returns the format of the oldest segment with an intact head. An error is found again later.
pub(super) fn oldest_format(files: &SegmentFiles) -> LogFormat {
    let mut heads = files
        .iter()
        .map(|(id, file, _)| decode_head(*id, file.as_ref()));
    heads
        .find_map(|head| match head {
            Ok(SegmentHead::Intact(head)) => Some(head.format),
            _ => None,
        })
        .unwrap_or(LogFormat::V2)
}

/// The numbers of segments, sorted, each with its file and the length of it.
pub(super) type SegmentFiles = Vec<(u32, Box<dyn DiskFile>, u64)>;

/// The log contains 32-bit offsets. The store writes no segment that is longer.
const TOO_LONG: &str =
    "longer than 4 GiB, so the store did not write it; restore the directory from a backup";

/// Opens the segments among the files of a directory; returns each with its length.
pub(super) fn open_segments(disk: &dyn Disk, names: &[String]) -> Result<SegmentFiles, FileError> {
    let ids = names
        .iter()
        .filter_map(|name| file_names::parse_segment(name));
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    let mut files = Vec::with_capacity(ids.len());
    for id in ids {
        let name = file_names::segment(id);
        let open = || {
            let file = disk.open(&name)?;
            let len = file.len()?;
            if len > u64::from(u32::MAX) {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LONG));
            }
            Ok((id, file, len))
        };
        let file = open().map_err(|error| FileError::io("open", disk.locate(&name), error));
        files.push(file?);
    }
    Ok(files)
}
