//! Hint files: the index data of a segment without the session data.

use std::collections::HashMap;

use bytes::{Buf, BufMut};

use super::{
    frame::{FrameHeader, FrameKind},
    frames::{Frames, SegmentItem},
    hint_entry::{self, HintEntries, HintEntry, kept_payload},
    segment_head::LogFormat,
};
use crate::{id::StoreKey, random_state::RandomState};

const MAGIC: [u8; 8] = *b"hs-hint\n";
/// The version of the format of hint files. Others are ignored.
const HINT_VERSION: u32 = 3;
/// Length of a hint file's head.
pub(crate) const HINT_HEAD_LEN: usize = 52;
/// Length of the head without its checksum.
const CHECKED_LEN: usize = HINT_HEAD_LEN - 4;

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
    /// The last entry.
    pub(crate) last: Option<HintEntry<'a>>,
    /// The encoded entries. All are well-formed.
    body: &'a [u8],
}

impl<'a> Hint<'a> {
    /// Iterates over the entries, in the order of their frames.
    pub(crate) const fn entries(&self) -> HintEntries<'a> {
        HintEntries::new(self.body, self.end)
    }

    /// Returns the offset up to which the frames say that the segment is durable. Frames before a recovered one may
    /// claim more if the end of the log was lost.
    pub(crate) fn synced(&self) -> u32 {
        let add = |synced: u32, entry: HintEntry<'_>| match entry.header.kind {
            FrameKind::Recovered => entry.offset,
            _ => synced.max(entry.header.synced),
        };
        self.entries().fold(0, add)
    }
}

/// Returns the maximum length of the hint of a segment with this length.
pub(crate) const fn max_hint_len(segment_len: u64) -> u64 {
    segment_len / 3
}

/// Encodes the hint for a segment's bytes.
///
/// Returns `None` if the hint would be longer than [`max_hint_len`]. A damaged segment gets no hint, so that
/// every opening of the store finds the damage.
pub(crate) fn encode(bytes: &[u8], id: u32, salt: u32) -> Option<Vec<u8>> {
    let hint = encode_frames(bytes, id, salt, true)?;
    (hint.len() as u64 <= max_hint_len(bytes.len() as u64)).then_some(hint)
}

/// Encodes a hint that has only the frames that concern no key. Of the last segment of a closed store
/// they show how far it was durable, also if a recovery has handled damage in it.
pub(crate) fn encode_marks(bytes: &[u8], id: u32, salt: u32) -> Option<Vec<u8>> {
    encode_frames(bytes, id, salt, false)
}

/// Returns `true` if an opening has handled damage, and recorded it in a segment with these bytes.
pub(crate) fn has_recovered_frame(bytes: &[u8], salt: u32) -> bool {
    let mut frames = Frames::new(bytes, salt, LogFormat::V2);
    frames.any(|item| {
        matches!(item, SegmentItem::Frame { header, .. } if header.kind == FrameKind::Recovered)
    })
}

fn encode_frames(bytes: &[u8], id: u32, salt: u32, complete: bool) -> Option<Vec<u8>> {
    let mut frames = Frames::new(bytes, salt, LogFormat::V2);
    let mut entries = relevant_frames(&mut frames, complete)?;
    entries.retain(|entry| complete || !entry.header.concerns_key());
    let body = hint_entry::encode(entries.iter());
    let mut hint = Vec::with_capacity(HINT_HEAD_LEN + body.len());
    hint.put_slice(&MAGIC);
    hint.put_u32_le(HINT_VERSION);
    hint.put_u32_le(id);
    hint.put_u32_le(salt);
    hint.put_u32_le(u32::try_from(entries.len()).ok()?);
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

/// Returns the frames that later frames do not replace. Returns `None` if the segment is damaged, and the
/// frames must be `complete`.
fn relevant_frames<'a>(items: &mut Frames<'a>, complete: bool) -> Option<Vec<HintEntry<'a>>> {
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
            SegmentItem::Damage { .. } if !complete => {}
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

/// Decodes a hint file. Returns `None` if it is damaged, is not about this segment, or has a malformed entry.
pub(crate) fn decode(hint: &[u8], id: u32, salt: u32) -> Option<Hint<'_>> {
    let (head, body) = hint.split_at_checked(HINT_HEAD_LEN)?;
    let (checked, crc) = head.split_at_checked(CHECKED_LEN)?;
    let mut rest = checked.strip_prefix(&MAGIC)?;
    let same_segment = rest.try_get_u32_le().ok()? == HINT_VERSION
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
    // All entries are decoded before any is applied.
    let (found, last) = HintEntries::new(body, end).check_all()?;
    (found == count).then_some(Hint {
        segment_len,
        end,
        checksum,
        complete,
        last,
        body,
    })
}
