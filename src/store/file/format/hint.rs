//! Hint files: the index data of a segment without the session data.

use std::collections::HashMap;

use bytes::{Buf, BufMut};

use super::{
    frame::{FrameHeader, FrameKind, HEADER_LEN},
    frames::{Frames, SegmentItem},
    payload,
    segment_end::SegmentEnd,
    segment_head::{FORMAT_VERSION, LogFormat, SEGMENT_HEAD_LEN},
};
use crate::{id::StoreKey, random_state::RandomState, seal::KEY_ID_TEXT_LEN};

const MAGIC: [u8; 8] = *b"hs-hint\n";
/// Length of a hint file's head.
const HEAD_LEN: usize = 52;
/// Length of the head without its checksum.
const CHECKED_LEN: usize = HEAD_LEN - 4;

/// A decoded hint file.
pub(crate) struct Hint<'a> {
    /// Length of the segment when the hint was written.
    pub(crate) segment_len: u64,
    /// The end of the segment's last frame at that time.
    pub(crate) end: u32,
    /// The running checksum of the segment's frames at that time.
    pub(crate) checksum: u32,
    /// The entries replace the segment. Otherwise they are only the frames that concern no key.
    pub(crate) complete: bool,
    pub(crate) entries: Vec<HintEntry<'a>>,
}

/// One frame in a hint file.
pub(crate) struct HintEntry<'a> {
    pub(crate) offset: u32,
    pub(crate) header: FrameHeader,
    /// The part of the payload that an opening needs: plain tags, the begin of a sealed text with the id
    /// of its key, or the end of a segment.
    pub(crate) payload: &'a [u8],
}

/// Encodes the hint for a segment's bytes.
///
/// Returns `None` if the hint would take a quarter of the segment's length or more. A damaged
/// segment gets no hint, so that every opening of the store finds the damage.
pub(crate) fn encode(bytes: &[u8], id: u32, salt: u32) -> Option<Vec<u8>> {
    let hint = encode_frames(bytes, id, salt, true)?;
    (hint.len() < bytes.len() / 4).then_some(hint)
}

/// Encodes a hint that has only the frames that concern no key. Of the last segment of a closed store
/// they show how far it was durable.
pub(crate) fn encode_marks(bytes: &[u8], id: u32, salt: u32) -> Option<Vec<u8>> {
    encode_frames(bytes, id, salt, false)
}

fn encode_frames(bytes: &[u8], id: u32, salt: u32, complete: bool) -> Option<Vec<u8>> {
    let mut frames = Frames::new(bytes, salt, LogFormat::V2);
    let mut body = Vec::new();
    let mut count = 0_u32;
    for entry in relevant_frames(&mut frames)? {
        if complete || !entry.header.concerns_key() {
            body.put_u32_le(entry.offset);
            body.put_slice(&entry.header.encode(salt));
            body.put_slice(entry.payload);
            count += 1;
        }
    }
    let mut hint = Vec::with_capacity(HEAD_LEN + body.len());
    hint.put_slice(&MAGIC);
    hint.put_u32_le(FORMAT_VERSION);
    hint.put_u32_le(id);
    hint.put_u32_le(salt);
    hint.put_u32_le(count);
    hint.put_u64_le(bytes.len() as u64);
    hint.put_u32_le(frames.end());
    hint.put_u32_le(frames.checksum());
    hint.put_u32_le(complete.into());
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
            FrameKind::Open
            | FrameKind::Compacted
            | FrameKind::End
            | FrameKind::Closed
            | FrameKind::Start
            | FrameKind::Tags
            | FrameKind::Recovered => true,
        }
    }
}

/// Returns the frames that later frames do not replace, or `None` if the segment is damaged.
fn relevant_frames<'a>(items: &mut Frames<'a>) -> Option<Vec<HintEntry<'a>>> {
    let mut frames = Vec::new();
    for item in items {
        match item {
            SegmentItem::Frame {
                offset,
                header,
                payload,
            } => frames.push(HintEntry {
                offset,
                header,
                payload: kept_payload(&header, payload)?,
            }),
            SegmentItem::Preallocated { .. } => {}
            SegmentItem::Damage { .. } | SegmentItem::TornTail { .. } => return None,
        }
    }
    let mut later: HashMap<StoreKey, LaterChanges, RandomState> = HashMap::default();
    let mut relevant: Vec<HintEntry<'a>> = frames
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
fn kept_payload<'a>(header: &FrameHeader, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if header.has_plain_tags() {
        payload::head(bytes)
    } else if header.encrypted {
        let len = KEY_ID_TEXT_LEN.min(header.len as usize);
        bytes.get(..len)
    } else if header.kind == FrameKind::Start {
        bytes.get(..SegmentEnd::LEN)
    } else {
        Some(&[])
    }
}

/// Decodes a hint file. Returns `None` if it is damaged or is not about this segment.
pub(crate) fn decode(hint: &[u8], id: u32, salt: u32) -> Option<Hint<'_>> {
    let (head, mut body) = hint.split_at_checked(HEAD_LEN)?;
    let (checked, crc) = head.split_at_checked(CHECKED_LEN)?;
    let mut rest = checked.strip_prefix(&MAGIC)?;
    let same_segment = rest.try_get_u32_le().ok()? == FORMAT_VERSION
        && rest.try_get_u32_le().ok()? == id
        && rest.try_get_u32_le().ok()? == salt;
    let count = rest.try_get_u32_le().ok()?;
    let segment_len = rest.try_get_u64_le().ok()?;
    let end = rest.try_get_u32_le().ok()?;
    let checksum = rest.try_get_u32_le().ok()?;
    let complete = rest.try_get_u32_le().ok()? == 1;
    let intact = rest.try_get_u32_le().ok()? == crc32fast::hash(body)
        && u32::from_le_bytes(*crc.first_chunk()?) == crc32fast::hash(checked);
    if !(same_segment && intact && u64::from(end) <= segment_len) {
        return None;
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let offset = body.try_get_u32_le().ok()?;
        let (header, rest) = body.split_first_chunk::<HEADER_LEN>()?;
        let header = FrameHeader::decode(header, salt, LogFormat::V2)?;
        let payload = kept_payload(&header, rest)?;
        if (offset as usize) < SEGMENT_HEAD_LEN
            || u64::from(offset) + header.frame_len() > end.into()
        {
            return None;
        }
        entries.push(HintEntry {
            offset,
            header,
            payload,
        });
        body = rest.get(payload.len()..)?;
    }
    body.is_empty().then_some(Hint {
        segment_len,
        end,
        checksum,
        complete,
        entries,
    })
}
