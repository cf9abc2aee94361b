//! Iteration over the frames of a segment and the damage between them.

use super::{
    frame::{FrameHeader, HEADER_LEN, running_checksum},
    segment_head::LogFormat,
};
use crate::id::StoreKey;

/// One item of a segment's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentItem<'a> {
    /// A complete frame.
    Frame {
        offset: u32,
        header: FrameHeader,
        payload: &'a [u8],
    },
    /// Bytes that are not a frame, followed by a frame. `key` is the key of the damaged frame, if
    /// the bytes are long enough for a header; the state of that key is not known.
    Damage {
        offset: u32,
        len: u64,
        key: Option<StoreKey>,
    },
    /// Bytes at the end that are not a frame: the rest of an append that a crash interrupted.
    TornTail { offset: u32, len: u64 },
    /// Zeros up to the end: space that was allocated for future frames.
    Preallocated { offset: u32, len: u64 },
}

/// An iterator over the items of a segment file, in order.
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    salt: u32,
    format: LogFormat,
    offset: usize,
    end: usize,
    checksum: u32,
}

impl<'a> Frames<'a> {
    /// Iterates over `bytes`, a whole segment file with this salt and format.
    pub(crate) const fn new(bytes: &'a [u8], salt: u32, format: LogFormat) -> Self {
        Self {
            bytes,
            salt,
            format,
            offset: format.head_len(),
            end: format.head_len(),
            checksum: 0,
        }
    }

    /// Returns the end of the last frame so far, or of the head.
    pub(crate) const fn end(&self) -> u32 {
        self.end as u32
    }

    /// Returns the running checksum of the frames so far.
    pub(crate) const fn checksum(&self) -> u32 {
        self.checksum
    }

    fn header_at(&self, offset: usize) -> Option<FrameHeader> {
        let bytes = self.bytes.get(offset..)?.first_chunk()?;
        FrameHeader::decode(bytes, self.salt, self.format)
    }

    /// Returns the frame at `offset`, if header and payload are intact.
    fn frame_at(&self, offset: usize) -> Option<(FrameHeader, &'a [u8])> {
        let header = self.header_at(offset)?;
        let begin = offset.checked_add(HEADER_LEN)?;
        let end = begin.checked_add(usize::try_from(header.len).ok()?)?;
        let payload = self.bytes.get(begin..end)?;
        header.matches_payload(payload).then_some((header, payload))
    }

    /// Skips bytes that are not a frame.
    ///
    /// An intact header gives the offset of the next frame. Session data inside a damaged frame is
    /// therefore not searched for frames.
    fn skip(&mut self) -> SegmentItem<'a> {
        let begin = self.offset;
        let rest = self.bytes.get(begin..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            self.offset = self.bytes.len();
            let (offset, len) = (begin as u32, rest.len() as u64);
            return SegmentItem::Preallocated { offset, len };
        }
        let key = self
            .header_at(begin)
            .map_or_else(|| FrameHeader::key_field(rest), |header| Some(header.key));
        let mut offset = begin;
        let frame_follows = loop {
            offset = match self.header_at(offset) {
                Some(_) if self.frame_at(offset).is_some() => break true,
                Some(header) => offset.saturating_add(header.frame_len() as usize),
                None => offset + 1,
            };
            if offset.saturating_add(HEADER_LEN) > self.bytes.len() {
                break false;
            }
        };
        self.offset = if frame_follows {
            offset
        } else {
            self.bytes.len()
        };
        let (offset, len) = (begin as u32, (self.offset - begin) as u64);
        if frame_follows {
            SegmentItem::Damage { offset, len, key }
        } else {
            SegmentItem::TornTail { offset, len }
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = SegmentItem<'a>;

    fn next(&mut self) -> Option<SegmentItem<'a>> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        let Some((header, payload)) = self.frame_at(self.offset) else {
            return Some(self.skip());
        };
        let offset = self.offset as u32;
        let bytes = self.bytes.get(self.offset..).and_then(<[u8]>::first_chunk);
        if let Some(bytes) = bytes {
            self.checksum = running_checksum(self.checksum, bytes);
        }
        self.offset += HEADER_LEN + payload.len();
        self.end = self.offset;
        Some(SegmentItem::Frame {
            offset,
            header,
            payload,
        })
    }
}
