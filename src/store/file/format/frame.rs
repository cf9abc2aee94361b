//! One frame of the log: a header of 68 bytes, and for some kinds a payload behind it.

use bytes::{Buf, BufMut};
use crc32fast::Hasher;

use crate::{clock::Timestamp, id::StoreKey};

/// Length of a frame's header.
pub(super) const HEADER: usize = 68;
const SUMMED: usize = HEADER - 4;

const FRESH: u8 = 1;
const SEALED: u8 = 2;

/// What a frame says. The numbers are the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The record under the key is now the payload.
    Write = 1,
    /// The record of this version under the key now expires then.
    Touch = 2,
    /// The key is destroyed; its tombstone stands until then.
    Destroy = 3,
    /// The key's tags are now those of the payload.
    Tags = 4,
    /// The store was opened; versions from here on are greater than this one.
    Open = 5,
    /// Segments up to the number in the version field are no longer needed and may be missing.
    Cleaned = 6,
    /// The segment ends here and another follows it.
    End = 7,
    /// Everything before is durable: said when a store is closed.
    Closed = 8,
    /// What stood here was lost before it was durable.
    Void = 9,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Write,
            2 => Self::Touch,
            3 => Self::Destroy,
            4 => Self::Tags,
            5 => Self::Open,
            6 => Self::Cleaned,
            7 => Self::End,
            8 => Self::Closed,
            9 => Self::Void,
            _ => return None,
        })
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// A write of a session without tags: earlier tags of the key do not count.
    pub(super) fresh: bool,
    /// The payload is sealed.
    pub(super) sealed: bool,
    /// Length of the payload.
    pub(super) len: u32,
    /// CRC-32 of the payload.
    pub(super) sum: u32,
    /// Where this segment was known to be durable up to when the frame was appended, and all
    /// segments before it wholly; 0 where nothing was known. Set on appending.
    pub(super) synced: u32,
    pub(super) version: u64,
    pub(super) expires: Timestamp,
    pub(super) key: StoreKey,
}

impl Header {
    /// A header without payload.
    pub(super) const fn new(kind: Kind, key: StoreKey, version: u64, expires: Timestamp) -> Self {
        Self {
            kind,
            fresh: false,
            sealed: false,
            len: 0,
            sum: 0,
            synced: 0,
            version,
            expires,
            key,
        }
    }

    /// A header that concerns no key.
    pub(super) const fn mark(kind: Kind, number: u64) -> Self {
        Self::new(
            kind,
            StoreKey::from_bytes([0; StoreKey::LEN]),
            number,
            Timestamp::MAX,
        )
    }

    /// The header of a frame with this payload, which is shorter than 4 GiB.
    pub(super) fn of(self, payload: &[u8]) -> Self {
        Self {
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            sum: crc32fast::hash(payload),
            ..self
        }
    }

    /// Length of the whole frame.
    pub(super) const fn frame_len(&self) -> u64 {
        HEADER as u64 + self.len as u64
    }

    /// Whether `payload` is the one that was written.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.len) && crc32fast::hash(payload) == self.sum
    }

    /// The header's bytes in a segment of this salt.
    pub(super) fn encode(&self, salt: u32) -> [u8; HEADER] {
        let mut rest = [0; SUMMED];
        let mut out = &mut rest[..];
        out.put_u8(self.kind as u8);
        out.put_u8((u8::from(self.fresh) * FRESH) | (u8::from(self.sealed) * SEALED));
        out.put_u16_le(0);
        out.put_u32_le(self.len);
        out.put_u32_le(self.sum);
        out.put_u32_le(self.synced);
        out.put_u64_le(self.version);
        out.put_u64_le(self.expires.as_millis());
        out.put_slice(self.key.as_bytes());
        let mut bytes = [0; HEADER];
        let mut out = &mut bytes[..];
        out.put_u32_le(salted(salt, &rest));
        out.put_slice(&rest);
        bytes
    }

    /// The header that `bytes` are in a segment of this salt; `None` for anything else.
    pub(super) fn decode(bytes: &[u8; HEADER], salt: u32) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk()?;
        // The cheap questions first: a search through damage asks at every byte.
        let &[kind, flags, 0, 0, ..] = rest else {
            return None;
        };
        let kind = Kind::from_byte(kind).filter(|_| flags <= FRESH | SEALED)?;
        if u32::from_le_bytes(*sum) != salted(salt, rest) {
            return None;
        }
        Self::fields(kind, flags, rest.get(4..)?)
    }

    fn fields(kind: Kind, flags: u8, mut rest: &[u8]) -> Option<Self> {
        Some(Self {
            kind,
            fresh: flags & FRESH != 0,
            sealed: flags & SEALED != 0,
            len: rest.try_get_u32_le().ok()?,
            sum: rest.try_get_u32_le().ok()?,
            synced: rest.try_get_u32_le().ok()?,
            version: rest.try_get_u64_le().ok()?,
            expires: Timestamp::from_millis(rest.try_get_u64_le().ok()?),
            key: StoreKey::from_bytes(*rest.first_chunk()?),
        })
    }

    /// Reads a header whose check sum nobody asks for, since all that matters of it is compared
    /// with what is known.
    pub(super) fn peek(bytes: &[u8; HEADER]) -> Option<Self> {
        let &[_, _, _, _, kind, flags, _, _, ref rest @ ..] = bytes;
        Self::fields(Kind::from_byte(kind)?, flags, rest)
    }

    /// The key that a header would name if only other fields of it were damaged.
    pub(super) fn key_of(bytes: &[u8]) -> Option<StoreKey> {
        let header = bytes.first_chunk::<HEADER>()?;
        Some(StoreKey::from_bytes(*header.last_chunk()?))
    }
}

/// The salt makes it useless to hide a frame in session data and hope for damage around it.
fn salted(salt: u32, bytes: &[u8]) -> u32 {
    let mut sum = Hasher::new_with_initial(salt);
    sum.update(bytes);
    sum.finalize()
}
