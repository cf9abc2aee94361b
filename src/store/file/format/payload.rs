//! The payload of a record with tags: length and bytes of the tags, then the data.
//!
//! The payload of a record without tags is the data alone.

use bytes::{BufMut, Bytes};

use crate::store::Tags;

/// Length of the field with the length of the tags.
const LEN_BYTES: usize = 2;

/// Encodes the payload of a record with tags.
pub(crate) fn encode(tags: &Tags, data: &[u8]) -> Bytes {
    let tags = tags.as_bytes();
    let mut payload = Vec::with_capacity(LEN_BYTES + tags.len() + data.len());
    // Tags take at most `Tags::MAX_BYTES`, which fits.
    payload.put_u16_le(tags.len() as u16);
    payload.put_slice(tags);
    payload.put_slice(data);
    payload.into()
}

/// Returns the tags and the data of a payload that [`encode`] returned.
pub(crate) fn decode(payload: &Bytes) -> Option<(Tags, Bytes)> {
    let head = head(payload)?;
    let tags = Tags::from_bytes(payload.slice(LEN_BYTES..head.len()))?;
    Some((tags, payload.slice(head.len()..)))
}

/// Returns the part of a payload in front of the data; `bytes` may go on with anything.
pub(crate) fn head(bytes: &[u8]) -> Option<&[u8]> {
    let len = u16::from_le_bytes(*bytes.first_chunk::<LEN_BYTES>()?);
    bytes.get(..LEN_BYTES + usize::from(len))
}

/// Returns the tags in the output of [`head`].
pub(crate) fn tags(head: &[u8]) -> Option<Tags> {
    Tags::from_bytes(Bytes::copy_from_slice(head.get(LEN_BYTES..)?))
}
