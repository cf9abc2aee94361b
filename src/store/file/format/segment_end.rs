//! The end of a segment, which the first frame of the next segment repeats.

use bytes::{Buf, BufMut};

/// The end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// Number of the segment.
    pub(crate) id: u32,
    /// The segment's salt.
    pub(crate) salt: u32,
    /// Offset of the end of the last frame.
    pub(crate) offset: u32,
    /// Running checksum of the frames' headers.
    pub(crate) checksum: u32,
    /// The offset up to which the segment was known to be durable when it ended.
    pub(crate) durable: u32,
}

impl SegmentEnd {
    /// Length of an encoded end.
    pub(crate) const LEN: usize = 20;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = &mut bytes[..];
        out.put_u32_le(self.id);
        out.put_u32_le(self.salt);
        out.put_u32_le(self.offset);
        out.put_u32_le(self.checksum);
        out.put_u32_le(self.durable);
        bytes
    }

    /// Decodes the payload of a start frame.
    pub(crate) fn decode(mut payload: &[u8]) -> Option<Self> {
        let end = Self {
            id: payload.try_get_u32_le().ok()?,
            salt: payload.try_get_u32_le().ok()?,
            offset: payload.try_get_u32_le().ok()?,
            checksum: payload.try_get_u32_le().ok()?,
            durable: payload.try_get_u32_le().ok()?,
        };
        payload.is_empty().then_some(end)
    }
}
