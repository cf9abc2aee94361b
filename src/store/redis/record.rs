//! How a record looks in Redis, byte by byte.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `hs1R`; a tombstone is `hs1T` and nothing more |
//! | 4..8 | CRC-32 of key, version and data, big-endian |
//! | 8..16 | version, big-endian, not zero |
//! | 16..18 | length of the tag block, big-endian; zero where the session has no tags |
//! | 18.. | the tag block ([`TagBlock`](super::tags::TagBlock)), then the data |
//!
//! The tag block is inside the record so that it lives and dies with it. The checksum leaves it out
//! so that a script can carry it over from one version to the next. It takes in the session's key so
//! that no mistake, wherever it is made, serves one visitor another's session.

use bytes::{BufMut, Bytes, BytesMut};

use super::RedisError;
use crate::{
    id::StoreKey,
    store::{ReadOutcome, Record, Version},
};

/// What every live record begins with. The third byte is the format's version.
const LIVE: &[u8] = b"hs1R";

/// All of a tombstone.
pub(super) const TOMBSTONE: &[u8] = b"hs1T";

/// How many bytes come before the tag block.
pub(super) const HEADER: usize = 18;

/// Appends the value of a record without tags to `text`.
pub(super) fn put(key: &StoreKey, version: Version, data: &[u8], text: &mut BytesMut) {
    let version = version.get().to_be_bytes();
    text.put_slice(LIVE);
    text.put_slice(&checksum(key, version, data).to_be_bytes());
    text.put_slice(&version);
    text.put_slice(&[0, 0]);
    text.put_slice(data);
}

/// What `value`, as Redis gave it for `key`, amounts to.
pub(super) fn decode(key: &StoreKey, value: &Bytes) -> Result<ReadOutcome, RedisError> {
    if value == TOMBSTONE {
        return Ok(ReadOutcome::Gone);
    }
    let (crc, number, tags) = header(value)?;
    let data = value.slice_ref(value.get(HEADER + tags..).ok_or(SHORT)?);
    if checksum(key, number, &data) != crc {
        return Err(RedisError::Damaged("its checksum does not match"));
    }
    let version = Version::new(u64::from_be_bytes(number))
        .ok_or(RedisError::Damaged("its version is zero"))?;
    Ok(ReadOutcome::Found(Record { data, version }))
}

/// The tag block of `value`; empty for a tombstone, and for what is no record.
pub(super) fn tag_block(value: &Bytes) -> Bytes {
    header(value)
        .ok()
        .and_then(|(_, _, tags)| value.get(HEADER..HEADER + tags))
        .map_or_else(Bytes::new, |block| value.slice_ref(block))
}

const SHORT: RedisError = RedisError::Damaged("it is cut short");

/// Checksum, version, and length of the tag block.
fn header(value: &[u8]) -> Result<(u32, [u8; 8], usize), RedisError> {
    let rest = value.strip_prefix(LIVE).ok_or(RedisError::Foreign)?;
    let (crc, rest) = rest.split_first_chunk().ok_or(SHORT)?;
    let (version, rest) = rest.split_first_chunk().ok_or(SHORT)?;
    let (tags, _) = rest.split_first_chunk().ok_or(SHORT)?;
    let tags = usize::from(u16::from_be_bytes(*tags));
    Ok((u32::from_be_bytes(*crc), *version, tags))
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
