//! The format of a record in Redis.
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | `hs1R`; a tombstone is `hs1T` and nothing else |
//! | 4..8 | CRC-32 of key, version and data, big-endian |
//! | 8..16 | version, big-endian, not zero |
//! | 16..18 | length of the tag block, big-endian; zero if the session has no tags |
//! | 18.. | the tag block ([`TagBlock`](super::tag_block::TagBlock)), then the data |
//!
//! The tag block is part of the record so that both expire together. The checksum excludes it so
//! that a script can copy it from one version to the next. The checksum includes the session's key,
//! so that no mistake anywhere can serve one visitor's session to another.

use bytes::{BufMut, Bytes, BytesMut};

use super::RedisError;
use crate::{
    id::StoreKey,
    store::{ReadOutcome, Record, Version},
};

/// The first bytes of every live record. The third byte is the version of the format.
const LIVE: &[u8] = b"hs1R";

/// The value of a tombstone.
pub(super) const TOMBSTONE: &[u8] = b"hs1T";

/// The number of bytes before the tag block.
pub(super) const HEADER_LEN: usize = 18;

/// Appends the value of a record without tags to `buffer`.
pub(super) fn encode(key: &StoreKey, version: Version, data: &[u8], buffer: &mut BytesMut) {
    let version = version.get().to_be_bytes();
    buffer.put_slice(LIVE);
    buffer.put_slice(&checksum(key, version, data).to_be_bytes());
    buffer.put_slice(&version);
    buffer.put_slice(&[0, 0]);
    buffer.put_slice(data);
}

/// Decodes the value that Redis returned for `key`.
pub(super) fn decode(key: &StoreKey, value: &Bytes) -> Result<ReadOutcome, RedisError> {
    if value == TOMBSTONE {
        return Ok(ReadOutcome::Gone);
    }
    let (crc, number, tags_len) = header(value)?;
    let data = value.slice_ref(value.get(HEADER_LEN + tags_len..).ok_or(TRUNCATED)?);
    if checksum(key, number, &data) != crc {
        return Err(RedisError::DamagedRecord("checksum does not match"));
    }
    let version = Version::new(u64::from_be_bytes(number))
        .ok_or(RedisError::DamagedRecord("version is zero"))?;
    Ok(ReadOutcome::Found(Record { data, version }))
}

/// Returns the tag block of `value`; empty for a tombstone or a value that is not a record.
pub(super) fn tag_block(value: &Bytes) -> Bytes {
    header(value)
        .ok()
        .and_then(|(_, _, tags_len)| value.get(HEADER_LEN..HEADER_LEN + tags_len))
        .map_or_else(Bytes::new, |block| value.slice_ref(block))
}

const TRUNCATED: RedisError = RedisError::DamagedRecord("record is truncated");

/// Parses the checksum, the version, and the length of the tag block.
fn header(value: &[u8]) -> Result<(u32, [u8; 8], usize), RedisError> {
    let rest = value
        .strip_prefix(LIVE)
        .ok_or_else(|| prefix_error(value))?;
    let (crc, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
    let (version, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
    let (tags_len, _) = rest.split_first_chunk().ok_or(TRUNCATED)?;
    let tags_len = usize::from(u16::from_be_bytes(*tags_len));
    Ok((u32::from_be_bytes(*crc), *version, tags_len))
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

fn checksum(key: &StoreKey, version: [u8; 8], data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key.as_bytes());
    crc.update(&version);
    crc.update(data);
    crc.finalize()
}

#[cfg(test)]
mod tests;
