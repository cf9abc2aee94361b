//! The head of a segment file: 36 bytes in front of the frames.

use bytes::{Buf, BufMut};
use crc32fast::Hasher;

/// Length of a segment's head.
pub(crate) const SEGMENT_HEAD_LEN: usize = 36;
/// The format version that this crate writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest version that this crate reads.
const OLDEST_VERSION: u32 = 1;
/// The greatest version that a newer release may have. A greater number is damage.
const MAX_FORMAT_VERSION: u32 = 0xffff;
const MAGIC: [u8; 8] = *b"hs-log\r\n";
/// Length of the part that the checksum covers.
const CHECKED_LEN: usize = 28;
/// Offset of the salt, in each version.
pub(crate) const SALT_OFFSET: usize = 16;
/// Offset of the mark of a compacted segment.
pub(crate) const COMPACTED_MARK_OFFSET: usize = CHECKED_LEN + 4;

/// A version of the format that this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Version 1, which is only read. Opening a store converts it.
    V1,
    /// Version 2.
    V2,
}

impl LogFormat {
    /// Returns the number of the version.
    pub(crate) const fn version(self) -> u32 {
        match self {
            Self::V1 => OLDEST_VERSION,
            Self::V2 => FORMAT_VERSION,
        }
    }

    /// Returns the length of a segment's head.
    pub(crate) const fn head_len(self) -> usize {
        match self {
            Self::V1 => CHECKED_LEN + 4,
            Self::V2 => SEGMENT_HEAD_LEN,
        }
    }
}

/// The result of decoding a segment's head.
pub(crate) enum SegmentHead {
    /// An intact head.
    Intact(HeadFields),
    /// A format version that this crate does not support.
    OtherVersion(u32),
    /// Anything else.
    Damaged,
}

/// The fields of an intact head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadFields {
    pub(crate) format: LogFormat,
    /// Part of the checksums of the frame headers; random for each segment.
    pub(crate) salt: u32,
    /// The packed position before which everything was durable when the segment was created.
    pub(crate) durable: u64,
    /// The frames of the segment are not needed.
    pub(crate) compacted: bool,
}

impl SegmentHead {
    /// Decodes the first bytes of the segment file with number `id`.
    pub(crate) fn decode(bytes: &[u8], id: u32) -> Self {
        Self::try_decode(bytes, id).unwrap_or(Self::Damaged)
    }

    fn try_decode(bytes: &[u8], id: u32) -> Option<Self> {
        let (checked, mut tail) = bytes.split_at_checked(CHECKED_LEN)?;
        let mut rest = checked.strip_prefix(&MAGIC)?;
        let format = rest.try_get_u32_le().ok()?;
        let crc = tail.try_get_u32_le().ok()?;
        let intact = crc == crc32fast::hash(checked);
        let is_other = if format > FORMAT_VERSION {
            // A newer format may have its checksum elsewhere.
            format <= MAX_FORMAT_VERSION && crc != crc_with_this_version(checked)
        } else {
            format < OLDEST_VERSION && intact
        };
        if is_other {
            return Some(Self::OtherVersion(format));
        }
        let stored_id = rest.try_get_u32_le().ok()?;
        let salt = rest.try_get_u32_le().ok()?;
        let durable = rest.try_get_u64_le().ok()?;
        let mut fields = HeadFields {
            format: LogFormat::V1,
            salt,
            durable,
            compacted: false,
        };
        if format == FORMAT_VERSION {
            fields.format = LogFormat::V2;
            fields.compacted = tail.try_get_u32_le().ok()? == compacted_mark(crc);
        }
        let valid = format <= FORMAT_VERSION && stored_id == id && intact;
        valid.then_some(Self::Intact(fields))
    }
}

/// Encodes the head of segment `id`.
pub(crate) fn encode(id: u32, salt: u32, durable: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(SEGMENT_HEAD_LEN);
    head.put_slice(&MAGIC);
    head.put_u32_le(FORMAT_VERSION);
    head.put_u32_le(id);
    head.put_u32_le(salt);
    head.put_u64_le(durable);
    let crc = crc32fast::hash(&head);
    head.put_u32_le(crc);
    head.put_u32_le(0);
    head
}

/// Returns the checksum that a head would have if its version were [`FORMAT_VERSION`].
///
/// If a damaged head has this checksum, only its version is damaged.
fn crc_with_this_version(checked: &[u8]) -> u32 {
    let mut crc = Hasher::new();
    crc.update(&MAGIC);
    crc.update(&FORMAT_VERSION.to_le_bytes());
    crc.update(checked.get(MAGIC.len() + 4..).unwrap_or_default());
    crc.finalize()
}

/// Returns the mark of a compacted segment, whose head has this checksum.
pub(crate) const fn compacted_mark(crc: u32) -> u32 {
    !crc
}

/// Returns the checksum in a head, or 0 if the bytes are too short.
pub(crate) fn stored_crc(head: &[u8]) -> u32 {
    field(head, CHECKED_LEN)
}

/// Returns the segment number in a head, or 0 if the bytes are too short.
pub(crate) fn stored_id(bytes: &[u8]) -> u32 {
    field(bytes, 12)
}

fn field(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u32::from_le_bytes(*field))
}
