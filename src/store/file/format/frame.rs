//! One frame of the log: a header of 68 bytes, followed by a payload for some kinds.

use bytes::{Buf, BufMut};
use crc32fast::Hasher;

use super::segment_head::LogFormat;
use crate::{clock::Timestamp, id::StoreKey};

/// Length of a frame's header.
pub(crate) const HEADER_LEN: usize = 68;
/// Length of the header without its checksum.
const CHECKED_LEN: usize = HEADER_LEN - 4;

const TAGGED: u8 = 1;
const ENCRYPTED: u8 = 2;

/// The meaning of a frame. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// Sets the key's record to the payload.
    Write = 1,
    /// Sets the expiry of the key's record, if the record has this frame's version.
    Touch = 2,
    /// Replaces the key's record with a tombstone that lives until the expiry.
    Destroy = 3,
    /// The store was opened; later versions are greater than this frame's version.
    Open = 4,
    /// Segments up to the number in the version field are not needed and may be missing.
    Compacted = 5,
    /// The segment ends here and another follows it.
    End = 6,
    /// The store was closed; everything before this frame is durable.
    Closed = 7,
    /// The first frame of a segment. Its payload is the end of the segment before it.
    Start = 8,
    /// Damage in the places of the payload was handled when the store was opened. Entries that were set or
    /// touched last before the position in the version field are dropped.
    Recovered = 9,
    /// Sets the key's tags to those in the payload. Only in format version 1, with another number.
    Tags = 255,
}

impl FrameKind {
    const fn from_byte(byte: u8, format: LogFormat) -> Option<Self> {
        match format {
            LogFormat::V1 => Self::from_version_1(byte),
            LogFormat::V2 => Self::from_version_2(byte),
        }
    }

    const fn from_version_1(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Write,
            2 => Self::Touch,
            3 => Self::Destroy,
            4 => Self::Tags,
            // 9 is a void frame. It means nothing, as does an open frame with version 0.
            5 | 9 => Self::Open,
            6 => Self::Compacted,
            7 => Self::End,
            8 => Self::Closed,
            _ => return None,
        })
    }

    pub(super) const fn from_version_2(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Write,
            2 => Self::Touch,
            3 => Self::Destroy,
            4 => Self::Open,
            5 => Self::Compacted,
            6 => Self::End,
            7 => Self::Closed,
            8 => Self::Start,
            9 => Self::Recovered,
            _ => return None,
        })
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// The record has tags, which are in the payload in front of the data. In format version 1: it may
    /// have tags, which another frame sets.
    pub(crate) tagged: bool,
    /// The payload is encrypted.
    pub(crate) encrypted: bool,
    /// Length of the payload.
    pub(crate) len: u32,
    /// CRC-32 of the payload.
    pub(crate) payload_crc: u32,
    /// The offset up to which this segment was known to be durable at the time of the append; all
    /// earlier segments were durable as a whole. 0 if nothing was known. Set by the append.
    pub(crate) synced: u32,
    pub(crate) version: u64,
    pub(crate) expires: Timestamp,
    pub(crate) key: StoreKey,
}

impl FrameHeader {
    /// Creates the header of a frame without a payload.
    pub(crate) const fn new(
        kind: FrameKind,
        key: StoreKey,
        version: u64,
        expires: Timestamp,
    ) -> Self {
        Self {
            kind,
            tagged: false,
            encrypted: false,
            len: 0,
            payload_crc: 0,
            synced: 0,
            version,
            expires,
            key,
        }
    }

    /// Creates the header of a frame that concerns no key; `number` is stored in the version field.
    pub(crate) const fn without_key(kind: FrameKind, number: u64) -> Self {
        Self::new(
            kind,
            StoreKey::from_bytes([0; StoreKey::LEN]),
            number,
            Timestamp::MAX,
        )
    }

    /// Sets length and checksum of the payload, which must be shorter than 4 GiB.
    pub(crate) fn with_payload(self, payload: &[u8]) -> Self {
        Self {
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_crc: crc32fast::hash(payload),
            ..self
        }
    }

    /// Returns the length of the whole frame.
    pub(crate) const fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + self.len as u64
    }

    /// Returns `true` if `payload` has the length and the checksum of this header.
    pub(crate) fn matches_payload(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.len) && crc32fast::hash(payload) == self.payload_crc
    }

    /// Returns `true` if the frame sets a property of one session key.
    pub(crate) const fn concerns_key(&self) -> bool {
        matches!(
            self.kind,
            FrameKind::Write | FrameKind::Touch | FrameKind::Destroy
        )
    }

    /// Returns `true` if the payload begins with tags that are not encrypted.
    pub(crate) const fn has_plain_tags(&self) -> bool {
        self.tagged && !self.encrypted
    }

    /// Encodes the header for a segment with this salt.
    pub(crate) fn encode(&self, salt: u32) -> [u8; HEADER_LEN] {
        let mut checked = [0; CHECKED_LEN];
        let mut out = &mut checked[..];
        out.put_u8(self.kind as u8);
        out.put_u8((u8::from(self.tagged) * TAGGED) | (u8::from(self.encrypted) * ENCRYPTED));
        out.put_u16_le(0);
        out.put_u32_le(self.len);
        out.put_u32_le(self.payload_crc);
        out.put_u32_le(self.synced);
        out.put_u64_le(self.version);
        out.put_u64_le(self.expires.as_millis());
        out.put_slice(self.key.as_bytes());
        let mut bytes = [0; HEADER_LEN];
        let mut out = &mut bytes[..];
        out.put_u32_le(salted_crc(salt, &checked));
        out.put_slice(&checked);
        bytes
    }

    /// Decodes a header of a segment with this salt; returns `None` if the bytes are not a header.
    pub(crate) fn decode(bytes: &[u8; HEADER_LEN], salt: u32, format: LogFormat) -> Option<Self> {
        let (crc, checked) = bytes.split_first_chunk()?;
        // The cheap checks come first. A search through damage decodes at every byte.
        let &[kind, flags, 0, 0, ..] = checked else {
            return None;
        };
        let kind = FrameKind::from_byte(kind, format).filter(|_| flags <= TAGGED | ENCRYPTED)?;
        if u32::from_le_bytes(*crc) != salted_crc(salt, checked) {
            return None;
        }
        let flags = match format {
            // There the flag means that the record has no tags.
            LogFormat::V1 => flags ^ TAGGED,
            LogFormat::V2 => flags,
        };
        Self::decode_fields(kind, flags, checked.get(4..)?)
    }

    fn decode_fields(kind: FrameKind, flags: u8, mut rest: &[u8]) -> Option<Self> {
        Some(Self {
            kind,
            tagged: flags & TAGGED != 0,
            encrypted: flags & ENCRYPTED != 0,
            len: rest.try_get_u32_le().ok()?,
            payload_crc: rest.try_get_u32_le().ok()?,
            synced: rest.try_get_u32_le().ok()?,
            version: rest.try_get_u64_le().ok()?,
            expires: Timestamp::from_millis(rest.try_get_u64_le().ok()?),
            key: StoreKey::from_bytes(*rest.first_chunk()?),
        })
    }

    /// Decodes a header of format version 2 without checking its checksum.
    ///
    /// For a caller that compares all relevant fields with the index.
    pub(crate) fn decode_unchecked(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let &[_, _, _, _, kind, flags, _, _, ref rest @ ..] = bytes;
        Self::decode_fields(FrameKind::from_version_2(kind)?, flags, rest)
    }

    /// Returns the key field of a damaged header, in case that only other fields are damaged.
    pub(crate) fn key_field(bytes: &[u8]) -> Option<StoreKey> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        Some(StoreKey::from_bytes(*header.last_chunk()?))
    }
}

/// Adds an encoded header to the running checksum of a segment, which begins with 0.
///
/// A header contains the checksums of itself and of the payload, so this covers the whole frame.
pub(crate) fn running_checksum(checksum: u32, header: &[u8; HEADER_LEN]) -> u32 {
    let mut crc = Hasher::new_with_initial(checksum);
    crc.update(header.first_chunk::<4>().unwrap_or(&[0; 4]));
    crc.finalize()
}

/// Returns a checksum that depends on the segment's salt.
///
/// The salt is not known outside. A frame that is hidden in session data is therefore never taken
/// for a frame, also if there is damage around it.
fn salted_crc(salt: u32, bytes: &[u8]) -> u32 {
    let mut crc = Hasher::new_with_initial(salt);
    crc.update(bytes);
    crc.finalize()
}
