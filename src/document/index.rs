//! The root index: the offset of each member of the root object.
//!
//! The index has one little-endian `u32` per member, in the order of the text. The low 24 bits are
//! the offset of the opening quote of the member's key. The high 8 bits are a tag of the key, so
//! that a lookup reads the text only if the tag matches. A member ends one byte before the next
//! one begins; the byte between is a comma, or the closing brace.

use super::{MalformedDocument, scan::Items};

/// Length of an entry in bytes.
pub(super) const ENTRY: usize = 4;

const OFFSET_BITS: u32 = 24;
const OFFSET_MASK: u32 = (1 << OFFSET_BITS) - 1;

/// The longest text that the index can address.
pub(super) const MAX_TEXT: usize = OFFSET_MASK as usize;

/// Returns the tag of a key, which is in the escaped form of the text.
///
/// The tag is part of the stored format. It is a hash of the key's length, its first eight bytes
/// as a big-endian number, and its last eight bytes as a little-endian number.
pub(super) fn tag(key: &[u8]) -> u8 {
    let (head, tail) = match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_be_bytes(*first), u64::from_le_bytes(*last)),
        _ => {
            let tail = short_number(key);
            let unused_bits = 64 - 8 * key.len() as u32;
            (
                tail.swap_bytes().checked_shr(unused_bits).unwrap_or(0),
                tail,
            )
        }
    };
    let mixed = head ^ tail.rotate_left(29) ^ key.len() as u64;
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Returns a key of less than eight bytes as a little-endian number.
fn short_number(key: &[u8]) -> u64 {
    match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => {
            // The bytes that both chunks contain are at the same place.
            let high = u64::from(u32::from_le_bytes(*last)) << (8 * (key.len() - 4));
            u64::from(u32::from_le_bytes(*first)) | high
        }
        _ => key
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)),
    }
}

/// Returns the entry of a member that begins at `offset`.
pub(super) fn entry(offset: usize, key: &[u8]) -> [u8; ENTRY] {
    (offset as u32 & OFFSET_MASK | u32::from(tag(key)) << OFFSET_BITS).to_le_bytes()
}

/// Returns the number of indexed members.
pub(super) fn len(index: &[u8]) -> usize {
    index.len() / ENTRY
}

/// Returns the offset of member `at`.
pub(super) fn offset(index: &[u8], at: usize) -> Option<usize> {
    let entry = index.as_chunks::<ENTRY>().0.get(at)?;
    Some(offset_of(*entry))
}

/// Returns the end of member `at` in the text, which is before its comma or the closing brace.
pub(super) fn member_end(index: &[u8], text: &[u8], at: usize) -> Option<usize> {
    offset(index, at + 1).unwrap_or(text.len()).checked_sub(1)
}

/// Returns the first member with this key tag for whose offset `accept` returns a value.
pub(super) fn find<T>(
    index: &[u8],
    tag: u8,
    mut accept: impl FnMut(usize) -> Option<T>,
) -> Option<(usize, T)> {
    /// Number of members to compare at once, in vector registers.
    const BLOCK: usize = 16;
    let (blocks, rest) = index.as_chunks::<ENTRY>().0.as_chunks::<BLOCK>();
    let mut find_in = |entries: &[[u8; ENTRY]], first: usize| {
        entries.iter().enumerate().find_map(|(at, entry)| {
            if entry[ENTRY - 1] != tag {
                return None;
            }
            Some((first + at, accept(offset_of(*entry))?))
        })
    };
    let has_tag = |entry: &[u8; ENTRY]| u32::from_le_bytes(*entry) >> OFFSET_BITS == u32::from(tag);
    let in_blocks = blocks.iter().enumerate().find_map(|(block, entries)| {
        let any = entries
            .iter()
            .fold(false, |any, entry| any | has_tag(entry));
        if any {
            find_in(entries, block * BLOCK)
        } else {
            None
        }
    });
    in_blocks.or_else(|| find_in(rest, blocks.len() * BLOCK))
}

fn offset_of(entry: [u8; ENTRY]) -> usize {
    (u32::from_le_bytes(entry) & OFFSET_MASK) as usize
}

/// Moves the offsets of member `from` and all later members by `delta` bytes.
///
/// The offsets stay inside a text of at most [`MAX_TEXT`] bytes, so the sum never changes the tag.
pub(super) fn shift(index: &mut [u8], from: usize, delta: isize) {
    let entries = index.as_chunks_mut::<ENTRY>().0;
    for entry in entries.get_mut(from..).unwrap_or_default() {
        *entry = u32::from_le_bytes(*entry)
            .wrapping_add(delta as u32)
            .to_le_bytes();
    }
}

/// Removes the entry of member `at`.
pub(super) fn remove(index: &mut Vec<u8>, at: usize) {
    let start = at * ENTRY;
    if start + ENTRY <= index.len() {
        index.drain(start..start + ENTRY);
    }
}

/// Returns `true` if an index and a text can belong together, judged by their ends. Takes constant
/// time.
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

/// Returns `true` if every entry points to the start of a member, in order.
///
/// Edits rely on this, because they move offsets. Reads do not.
pub(super) fn is_sound(index: &[u8], text: &[u8]) -> bool {
    let mut last = 0;
    index.as_chunks::<ENTRY>().0.iter().all(|entry| {
        let offset = offset_of(*entry);
        let in_order = offset > last;
        last = offset;
        let start = text
            .get(last.wrapping_sub(1)..)
            .and_then(<[u8]>::first_chunk);
        in_order && matches!(start, Some([b'{' | b',', b'"']))
    })
}

/// Appends the index for the text of an object to `index`.
pub(super) fn build(text: &[u8], index: &mut Vec<u8>) -> Result<(), MalformedDocument> {
    if text.first() != Some(&b'{') {
        return Err(MalformedDocument::new("it is not an object"));
    }
    if text.len() > MAX_TEXT {
        return Err(MalformedDocument::new("it is too large"));
    }
    let mut members = Items::new(text, 0);
    while let Some(member) = members.member().ok_or(MalformedDocument::DAMAGED)? {
        let key = text.get(member.key.clone()).unwrap_or_default();
        index.extend_from_slice(&entry(member.key.start - 1, key));
    }
    if members.close_offset() + 1 != text.len() {
        return Err(MalformedDocument::DAMAGED);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
