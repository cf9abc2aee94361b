//! What things are called in Redis.

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::Key;

/// The names that this store uses, all of them under one prefix.
///
/// A session has exactly one key, so in a cluster everything about it is in one slot.
#[derive(Clone)]
pub(super) struct Names {
    prefix: Box<[u8]>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = prefix.as_bytes().into();
        Self { prefix }
    }

    /// Where a session's record is: the prefix and 64 hexadecimal digits.
    pub(super) fn session(&self, key: &Key) -> Bytes {
        let mut name = self.begin(2 * Key::LEN);
        for byte in key.as_bytes() {
            name.put_u8(digit(byte >> 4));
            name.put_u8(digit(byte & 15));
        }
        name.freeze()
    }

    /// The session whose record has this name.
    pub(super) fn key(&self, name: &[u8]) -> Option<Key> {
        let digits = name.strip_prefix(&*self.prefix)?;
        let mut key = [0; Key::LEN];
        let (pairs, []) = digits.as_chunks() else {
            return None;
        };
        if pairs.len() != key.len() {
            return None;
        }
        for (byte, &[high, low]) in key.iter_mut().zip(pairs) {
            *byte = value(high)? << 4 | value(low)?;
        }
        Some(Key::from_bytes(key))
    }

    /// Where a tag's index is: the prefix, `tag:`, and the tag as it is. No session's name is like
    /// it, since `t` is no digit.
    pub(super) fn tag(&self, tag: &str) -> Bytes {
        let mut name = self.begin(4 + tag.len());
        name.extend_from_slice(b"tag:");
        name.extend_from_slice(tag.as_bytes());
        name.freeze()
    }

    fn begin(&self, more: usize) -> BytesMut {
        let mut name = BytesMut::with_capacity(self.prefix.len() + more);
        name.extend_from_slice(&self.prefix);
        name
    }
}

const fn digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
