//! The root index: where each member of the root object begins.
//!
//! One little-endian `u32` for each member, in the order of the text. The low 24 bits are the offset
//! of the member's key (its opening quote); the high 8 bits are a tag of the key, so that a look-up
//! reads the text only where the tag fits. A member ends one byte (its comma, or the closing brace)
//! before the next one begins.

use super::{Malformed, scan::Items};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 4;

const OFFSET_BITS: u32 = 24;
const OFFSET_MASK: u32 = (1 << OFFSET_BITS) - 1;

/// The longest text that the index can address.
pub(super) const MAX_TEXT: usize = OFFSET_MASK as usize;

/// The tag of a key in the escaped form of the text.
///
/// Part of the stored format: made of the key's length and its first and last eight bytes.
pub(super) fn tag(key: &[u8]) -> u8 {
    let head = key.iter().take(8).fold(0, push_byte);
    let tail = key.iter().rev().take(8).fold(0, push_byte);
    let mixed =
        (head ^ tail.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8
}

fn push_byte(word: u64, byte: &u8) -> u64 {
    word << 8 | u64::from(*byte)
}

/// The entry of a member that begins at `offset`.
pub(super) fn entry(offset: usize, key: &[u8]) -> [u8; ENTRY] {
    (offset as u32 & OFFSET_MASK | u32::from(tag(key)) << OFFSET_BITS).to_le_bytes()
}

/// How many members are indexed.
pub(super) fn len(index: &[u8]) -> usize {
    index.len() / ENTRY
}

/// The offset of member `at`.
pub(super) fn offset(index: &[u8], at: usize) -> Option<usize> {
    let entry = index.as_chunks::<ENTRY>().0.get(at)?;
    Some((u32::from_le_bytes(*entry) & OFFSET_MASK) as usize)
}

/// The members from `from` on whose key has this tag.
pub(super) fn with_tag(index: &[u8], tag: u8) -> impl Iterator<Item = (usize, usize)> {
    let entries = index.as_chunks::<ENTRY>().0.iter().enumerate();
    entries
        .filter(move |(_, entry)| entry[ENTRY - 1] == tag)
        .map(|(at, entry)| (at, (u32::from_le_bytes(*entry) & OFFSET_MASK) as usize))
}

/// Moves the members from `from` on by `delta` bytes.
///
/// The offsets stay inside a text of at most [`MAX_TEXT`] bytes, so the sum never reaches the tag.
pub(super) fn shift(index: &mut [u8], from: usize, delta: isize) {
    let entries = index.as_chunks_mut::<ENTRY>().0;
    for entry in entries.get_mut(from..).unwrap_or_default() {
        *entry = u32::from_le_bytes(*entry)
            .wrapping_add(delta as u32)
            .to_le_bytes();
    }
}

/// Takes the entry of member `at` out.
pub(super) fn remove(index: &mut Vec<u8>, at: usize) {
    let start = at * ENTRY;
    if start + ENTRY <= index.len() {
        index.drain(start..start + ENTRY);
    }
}

/// Whether the ends of an index and a text belong together. Takes constant time.
pub(super) fn fits(index: &[u8], text: &[u8]) -> bool {
    match index {
        [] => text == b"{}",
        [low, middle, high, _tag, ..] => {
            index.len().is_multiple_of(ENTRY)
                && [*low, *middle, *high] == [1, 0, 0]
                && text.len() <= MAX_TEXT
                && text.starts_with(b"{\"")
                && text.ends_with(b"}")
        }
        _ => false,
    }
}

/// Whether every entry points at the beginning of a member, in order.
///
/// An edit moves offsets, so it relies on this; a read does not.
pub(super) fn is_sound(index: &[u8], text: &[u8]) -> bool {
    let mut last = 0;
    index.as_chunks::<ENTRY>().0.iter().all(|entry| {
        let offset = (u32::from_le_bytes(*entry) & OFFSET_MASK) as usize;
        let in_order = offset > last;
        last = offset;
        in_order && matches!(text.get(offset - 1..=offset), Some([b'{' | b',', b'"']))
    })
}

/// Appends the index of an object's text to `index`.
pub(super) fn build(text: &[u8], index: &mut Vec<u8>) -> Result<(), Malformed> {
    if text.first() != Some(&b'{') {
        return Err(Malformed::new("it is not an object"));
    }
    if text.len() > MAX_TEXT {
        return Err(Malformed::new("it is too large"));
    }
    let mut members = Items::new(text, 0);
    while let Some(member) = members.member().ok_or(Malformed::DAMAGED)? {
        let key = text.get(member.key.clone()).unwrap_or_default();
        index.extend_from_slice(&entry(member.key.start - 1, key));
    }
    if members.close() + 1 != text.len() {
        return Err(Malformed::DAMAGED);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
