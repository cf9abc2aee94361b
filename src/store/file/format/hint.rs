//! Hint files: the index data of a segment without the session data.

use std::collections::HashMap;

use bytes::{Buf, BufMut};

use super::{
    frame::{FrameHeader, FrameKind, HEADER_LEN},
    frames::{Frames, SegmentItem},
    payload,
    segment_head::{FORMAT_VERSION, SEGMENT_HEAD_LEN},
};
use crate::id::StoreKey;

const MAGIC: [u8; 8] = *b"hs-hint\n";
/// Length of a hint file's head.
const HEAD_LEN: usize = 40;
/// Length of the head without its checksum.
const CHECKED_LEN: usize = HEAD_LEN - 4;

/// One frame in a hint file.
pub(crate) struct HintEntry<'a> {
    pub(crate) offset: u32,
    pub(crate) header: FrameHeader,
    /// The payload up to the data if the frame has plain tags; otherwise empty.
    pub(crate) payload: &'a [u8],
}

/// Encodes the hint for a segment's bytes.
///
/// Returns `None` if the hint would take a quarter of the segment's length or more. A damaged
/// segment gets no hint, so that every opening of the store finds the damage.
pub(crate) fn encode(bytes: &[u8], id: u32, salt: u32) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut count = 0_u32;
    for entry in relevant_frames(bytes, salt)? {
        body.put_u32_le(entry.offset);
        body.put_slice(&entry.header.encode(salt));
        body.put_slice(entry.payload);
        count += 1;
    }
    if HEAD_LEN + body.len() >= bytes.len() / 4 {
        return None;
    }
    let mut hint = Vec::with_capacity(HEAD_LEN + body.len());
    hint.put_slice(&MAGIC);
    hint.put_u32_le(FORMAT_VERSION);
    hint.put_u32_le(id);
    hint.put_u32_le(salt);
    hint.put_u32_le(count);
    hint.put_u64_le(bytes.len() as u64);
    hint.put_u32_le(crc32fast::hash(&body));
    let crc = crc32fast::hash(&hint);
    hint.put_u32_le(crc);
    hint.put_slice(&body);
    Some(hint)
}

/// The properties of a key that later frames of the same segment set.
#[derive(Default)]
struct LaterChanges {
    state: bool,
    expiry: bool,
}

impl LaterChanges {
    /// Returns `true` if `header` sets a property that no later frame sets, and records it.
    fn needs(&mut self, header: &FrameHeader) -> bool {
        match header.kind {
            FrameKind::Write | FrameKind::Destroy => {
                self.expiry = true;
                !std::mem::replace(&mut self.state, true)
            }
            FrameKind::Touch => !std::mem::replace(&mut self.expiry, true),
            FrameKind::Open | FrameKind::Compacted | FrameKind::End | FrameKind::Closed => true,
            FrameKind::Void => false,
        }
    }
}

/// Returns the frames that later frames do not replace, or `None` if the segment is damaged.
fn relevant_frames(bytes: &[u8], salt: u32) -> Option<Vec<HintEntry<'_>>> {
    let mut frames = Vec::new();
    for item in Frames::new(bytes, salt) {
        match item {
            SegmentItem::Frame {
                offset,
                header,
                payload,
            } => frames.push(HintEntry {
                offset,
                header,
                payload: plain_tags(&header, payload)?,
            }),
            SegmentItem::Preallocated { .. } => {}
            SegmentItem::Damage { .. } | SegmentItem::TornTail { .. } => return None,
        }
    }
    let mut later: HashMap<StoreKey, LaterChanges, foldhash::fast::RandomState> =
        HashMap::default();
    let mut relevant: Vec<HintEntry<'_>> = frames
        .into_iter()
        .rev()
        .filter(|entry| {
            let header = &entry.header;
            later.entry(header.key).or_default().needs(header)
        })
        .collect();
    relevant.reverse();
    Some(relevant)
}

/// Returns the part of a hint entry after the header, of which `bytes` is the beginning.
fn plain_tags<'a>(header: &FrameHeader, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if header.has_plain_tags() {
        payload::head(bytes)
    } else {
        Some(&[])
    }
}

/// Decodes a hint file. Returns `None` if it is damaged or is not about this segment at this
/// length.
pub(crate) fn decode<'a>(
    hint: &'a [u8],
    id: u32,
    salt: u32,
    segment_len: u64,
) -> Option<Vec<HintEntry<'a>>> {
    let (head, mut body) = hint.split_at_checked(HEAD_LEN)?;
    let (checked, crc) = head.split_at_checked(CHECKED_LEN)?;
    let mut rest = checked.strip_prefix(&MAGIC)?;
    let same_segment = rest.try_get_u32_le().ok()? == FORMAT_VERSION
        && rest.try_get_u32_le().ok()? == id
        && rest.try_get_u32_le().ok()? == salt;
    let count = rest.try_get_u32_le().ok()?;
    let current = rest.try_get_u64_le().ok()? == segment_len;
    let intact = rest.try_get_u32_le().ok()? == crc32fast::hash(body)
        && u32::from_le_bytes(*crc.first_chunk()?) == crc32fast::hash(checked);
    if !(same_segment && current && intact) {
        return None;
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let offset = body.try_get_u32_le().ok()?;
        let (header, rest) = body.split_first_chunk::<HEADER_LEN>()?;
        let header = FrameHeader::decode(header, salt)?;
        let payload = plain_tags(&header, rest)?;
        let end = u64::from(offset) + header.frame_len();
        if (offset as usize) < SEGMENT_HEAD_LEN || end > segment_len {
            return None;
        }
        entries.push(HintEntry {
            offset,
            header,
            payload,
        });
        body = rest.get(payload.len()..)?;
    }
    body.is_empty().then_some(entries)
}
