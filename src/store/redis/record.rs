//! The format of a record in Redis.
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | `hs2R`; a tombstone is `hs2T` and nothing else |
//! | 4..8 | CRC-32 of key, version, tags and data, big-endian |
//! | 8..16 | version, big-endian, not zero |
//! | 16..18 | length of the tag block, big-endian; zero if the session has no tags |
//! | 18.. | the tag block, then the data |
//!
//! The tag block is the time until which the indexes list all tags (8 bytes, in ms since the epoch by
//! the clock of the record's node, big-endian), then the [`Tags`]. The checksum excludes that time, so
//! that a touch can set it in place. The checksum includes the session's key, so that no mistake
//! anywhere can serve one visitor's session to another.

use bytes::{BufMut, Bytes, BytesMut};

use super::RedisError;
use crate::{
    id::StoreKey,
    store::{ReadOutcome, Record, Tags, Version},
};

/// The first bytes of every live record. The third byte is the version of the format.
const LIVE: &[u8] = b"hs2R";

/// The value of a tombstone.
pub(super) const TOMBSTONE: &[u8] = b"hs2T";

/// The number of bytes before the tag block.
const HEADER_LEN: usize = 18;

/// The number of bytes before the tags in a tag block.
const INDEXED_UNTIL_LEN: usize = 8;

/// The tags of a stored record.
pub(super) struct StoredTags {
    pub(super) version: [u8; 8],
    /// The time until which the indexes list all tags, in ms since the epoch.
    pub(super) indexed_until: u64,
    pub(super) tags: Tags,
}

/// The parts of a stored record.
struct RecordParts<'v> {
    crc: u32,
    version: [u8; 8],
    indexed_until: u64,
    tags: &'v [u8],
    data: &'v [u8],
}

/// Returns the length of an encoded record.
pub(super) fn encoded_len(tags: &Tags, data: &[u8]) -> usize {
    HEADER_LEN + tag_block_len(tags) + data.len()
}

/// Appends the value of a record to `buffer`.
pub(super) fn encode(
    key: &StoreKey,
    version: Version,
    (tags, indexed_until): (&Tags, u64),
    data: &[u8],
    buffer: &mut BytesMut,
) {
    let version = version.get().to_be_bytes();
    let crc = checksum(key, version, tags.as_bytes(), data);
    buffer.put_slice(LIVE);
    buffer.put_slice(&crc.to_be_bytes());
    buffer.put_slice(&version);
    // At most `Tags::MAX_BYTES` and 8.
    buffer.put_u16(u16::try_from(tag_block_len(tags)).unwrap_or(u16::MAX));
    if !tags.is_empty() {
        buffer.put_u64(indexed_until);
        buffer.put_slice(tags.as_bytes());
    }
    buffer.put_slice(data);
}

/// Decodes the value that Redis returned for `key`.
pub(super) fn decode(key: &StoreKey, value: &Bytes) -> Result<ReadOutcome, RedisError> {
    if value == TOMBSTONE {
        return Ok(ReadOutcome::Gone);
    }
    let parts = RecordParts::parse(value)?;
    if checksum(key, parts.version, parts.tags, parts.data) != parts.crc {
        return Err(RedisError::DamagedRecord("checksum does not match"));
    }
    let version = Version::new(u64::from_be_bytes(parts.version))
        .ok_or(RedisError::DamagedRecord("version is zero"))?;
    let record = Record::new(value.slice_ref(parts.data), version);
    Ok(ReadOutcome::Found(record.tags(parts.tags(value)?)))
}

/// Decodes the tags at the start of a live record; the data may be missing.
pub(super) fn decode_tags(value: &Bytes) -> Result<StoredTags, RedisError> {
    let parts = RecordParts::parse(value)?;
    Ok(StoredTags {
        version: parts.version,
        indexed_until: parts.indexed_until,
        tags: parts.tags(value)?,
    })
}

const TRUNCATED: RedisError = RedisError::DamagedRecord("record is truncated");

impl<'v> RecordParts<'v> {
    fn parse(value: &'v [u8]) -> Result<Self, RedisError> {
        let rest = value
            .strip_prefix(LIVE)
            .ok_or_else(|| prefix_error(value))?;
        let (crc, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
        let (version, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
        let (len, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (block, data) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
        let (indexed_until, tags) = match block {
            [] => (0, block),
            _ => {
                let (until, tags) = block.split_first_chunk().ok_or(TRUNCATED)?;
                (u64::from_be_bytes(*until), tags)
            }
        };
        Ok(Self {
            crc: u32::from_be_bytes(*crc),
            version: *version,
            indexed_until,
            tags,
            data,
        })
    }

    /// Returns the tags, which share the memory of `value`.
    fn tags(&self, value: &Bytes) -> Result<Tags, RedisError> {
        // An empty slice of `value` would still count as a reference to it.
        if self.tags.is_empty() {
            return Ok(Tags::new());
        }
        Tags::from_bytes(value.slice_ref(self.tags))
            .ok_or(RedisError::DamagedRecord("tags are invalid"))
    }
}

fn tag_block_len(tags: &Tags) -> usize {
    match tags.as_bytes().len() {
        0 => 0,
        len => INDEXED_UNTIL_LEN + len,
    }
}

/// Returns the error for a value that does not begin like a record of this release.
fn prefix_error(value: &[u8]) -> RedisError {
    match value {
        [b'h', b's', digit @ b'0'..=b'9', b'R' | b'T', ..] if LIVE.get(2) < Some(digit) => {
            RedisError::NewerFormat
        }
        _ => RedisError::ForeignValue,
    }
}

fn checksum(key: &StoreKey, version: [u8; 8], tags: &[u8], data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key.as_bytes());
    crc.update(&version);
    if !tags.is_empty() {
        // With their length, so that no byte can move between tags and data. Machines of any word size share a server.
        crc.update(&(tags.len() as u64).to_be_bytes());
        crc.update(tags);
    }
    crc.update(data);
    crc.finalize()
}

#[cfg(test)]
mod tests;
