//! The payload of a frame that sets tags.

use bytes::{Buf, BufMut};

use super::frame::HEADER_LEN;
use crate::store::Tag;

/// Encodes tags: for each its length in two bytes, then its text.
pub(crate) fn encode(tags: &[Tag]) -> Vec<u8> {
    let mut out = Vec::new();
    for tag in tags {
        // A tag is at most 256 bytes long.
        out.put_u16_le(tag.as_str().len() as u16);
        out.put_slice(tag.as_str().as_bytes());
    }
    out
}

/// Decodes the output of [`encode`]; returns `None` for anything else.
pub(crate) fn decode(mut payload: &[u8]) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    while !payload.is_empty() {
        let len = usize::from(payload.try_get_u16_le().ok()?);
        let (text, rest) = payload.split_at_checked(len)?;
        tags.push(Tag::new(std::str::from_utf8(text).ok()?).ok()?);
        payload = rest;
    }
    Some(tags)
}

/// Returns the length of the frame that sets these tags, or 0 for no tags, which need no frame.
pub(crate) fn frame_len(tags: &[Tag]) -> u64 {
    if tags.is_empty() {
        return 0;
    }
    let payload: usize = tags.iter().map(|tag| 2 + tag.as_str().len()).sum();
    (HEADER_LEN + payload) as u64
}
