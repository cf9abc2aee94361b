//! The parts of format version 1 that version 2 does not have.

use bytes::Buf;

use crate::store::{Tag, Tags};

/// Decodes the payload of a frame that sets tags: for each its length in two bytes, then its text.
pub(crate) fn decode_tags(mut payload: &[u8]) -> Option<Tags> {
    let mut tags = Tags::new();
    while !payload.is_empty() {
        let len = usize::from(payload.try_get_u16_le().ok()?);
        let (text, rest) = payload.split_at_checked(len)?;
        let tag = Tag::new(std::str::from_utf8(text).ok()?).ok()?;
        tags.insert(&tag).ok()?;
        payload = rest;
    }
    Some(tags)
}

/// Returns the length that a segment had when this hint file was written, or `None` if the hint is
/// damaged or is not about this segment.
pub(crate) fn hint_segment_len(hint: &[u8], id: u32, salt: u32) -> Option<u64> {
    const CHECKED_LEN: usize = 36;
    let (checked, mut crc) = hint.split_at_checked(CHECKED_LEN)?;
    if crc.try_get_u32_le().ok()? != crc32fast::hash(checked) {
        return None;
    }
    let mut rest = checked.strip_prefix(b"hs-hint\n")?;
    let expected = [1, id, salt];
    for field in expected {
        if rest.try_get_u32_le().ok()? != field {
            return None;
        }
    }
    let _entries = rest.try_get_u32_le().ok()?;
    rest.try_get_u64_le().ok()
}
