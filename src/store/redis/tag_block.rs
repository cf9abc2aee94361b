//! The tag block: the tags of a record, stored in the record.

use bytes::{BufMut, Bytes, BytesMut};

use super::RedisError;
use crate::store::MAX_TAGS;

/// The tags of one record.
///
/// | bytes | content |
/// |---|---|
/// | 0..8 | the time until which the indexes list all tags, in ms since the epoch, big-endian |
/// | for each tag | its number (8 bytes), its length minus one (1 byte), its name |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TagBlock {
    pub(super) indexed_until: u64,
    pub(super) tags: Vec<TagEntry<Box<str>>>,
}

/// A tag's name, with a number that is unique to this tagging.
type TagEntry<Name> = ([u8; 8], Name);

impl TagBlock {
    /// Parses a block. Returns an empty block for bytes that are not a block.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut block = Self::default();
        let Some((until, mut rest)) = bytes.split_first_chunk() else {
            return block;
        };
        block.indexed_until = u64::from_be_bytes(*until);
        while let Some(((number, name), more)) = parse_entry(rest) {
            block.tags.push((number, name.into()));
            rest = more;
        }
        block
    }

    pub(super) fn encode(&self) -> Bytes {
        if self.tags.is_empty() {
            return Bytes::new();
        }
        let tags_len: usize = self.tags.iter().map(|(_, name)| 9 + name.len()).sum();
        let mut bytes = BytesMut::with_capacity(8 + tags_len);
        bytes.put_u64(self.indexed_until);
        for (number, name) in &self.tags {
            bytes.put_slice(number);
            // A tag has 1 to 256 bytes.
            bytes.put_u8(u8::try_from(name.len().saturating_sub(1)).unwrap_or(u8::MAX));
            bytes.put_slice(name.as_bytes());
        }
        bytes.freeze()
    }

    pub(super) fn contains(&self, number: &[u8]) -> bool {
        self.tags.iter().any(|(existing, _)| existing == number)
    }

    /// Adds a tag under the number that `number` returns, unless the block has the tag already.
    pub(super) fn add(
        &mut self,
        name: &str,
        number: impl FnOnce() -> u64,
    ) -> Result<(), RedisError> {
        if self.tags.iter().any(|(_, existing)| **existing == *name) {
            return Ok(());
        }
        if self.tags.len() >= MAX_TAGS {
            return Err(RedisError::TooManyTags);
        }
        self.tags.push((number().to_be_bytes(), name.into()));
        Ok(())
    }
}

/// Parses the first tag of `bytes` and returns it with the rest.
fn parse_entry(bytes: &[u8]) -> Option<(TagEntry<&str>, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len) + 1)?;
    Some(((*number, std::str::from_utf8(name).ok()?), rest))
}

#[cfg(test)]
mod tests;
