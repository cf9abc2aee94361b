//! The head of a segment file: 32 bytes in front of the frames.

use bytes::{Buf, BufMut};

/// Length of a segment's head.
pub(crate) const SEGMENT_HEAD_LEN: usize = 32;
/// The format version that this crate writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 2;
const MAGIC: [u8; 8] = *b"hs-log\r\n";
/// Length of the head without its checksum.
const CHECKED_LEN: usize = SEGMENT_HEAD_LEN - 4;

/// The result of decoding a segment's head.
pub(crate) enum SegmentHead {
    /// An intact head with this salt.
    Salt(u32),
    /// A format version that this crate does not support.
    OtherVersion(u32),
    /// Anything else.
    Damaged,
}

impl SegmentHead {
    /// Decodes the first bytes of the segment file with number `id`.
    pub(crate) fn decode(bytes: &[u8], id: u32) -> Self {
        Self::try_decode(bytes, id).unwrap_or(Self::Damaged)
    }

    fn try_decode(bytes: &[u8], id: u32) -> Option<Self> {
        let checked = bytes.get(..CHECKED_LEN)?;
        let mut rest = checked.strip_prefix(&MAGIC)?;
        let format = rest.try_get_u32_le().ok()?;
        let crc = u32::from_le_bytes(*bytes.get(CHECKED_LEN..)?.first_chunk()?);
        let intact = crc == crc32fast::hash(checked);
        // A newer format may have its checksum elsewhere, so its version counts in any case.
        if format > FORMAT_VERSION || (format < FORMAT_VERSION && intact) {
            return Some(Self::OtherVersion(format));
        }
        let stored_id = rest.try_get_u32_le().ok()?;
        let salt = rest.try_get_u32_le().ok()?;
        let valid = format == FORMAT_VERSION && stored_id == id && intact;
        valid.then_some(Self::Salt(salt))
    }
}

/// Encodes the head of segment `id`.
pub(crate) fn encode(id: u32, salt: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(SEGMENT_HEAD_LEN);
    head.put_slice(&MAGIC);
    head.put_u32_le(FORMAT_VERSION);
    head.put_u32_le(id);
    head.put_u32_le(salt);
    head.put_u64_le(0);
    let crc = crc32fast::hash(&head);
    head.put_u32_le(crc);
    head
}

/// Returns the segment number in a head, or 0 if the bytes are too short.
pub(crate) fn stored_id(bytes: &[u8]) -> u32 {
    let field = bytes.get(12..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |id| u32::from_le_bytes(*id))
}
