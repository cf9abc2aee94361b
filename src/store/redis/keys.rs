//! What things are called in Redis.

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::StoreKey;

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
    pub(super) fn session(&self, key: &StoreKey) -> Bytes {
        let mut name = BytesMut::with_capacity(self.session_len());
        self.put_session(key, &mut name);
        name.freeze()
    }

    /// The same, behind what is in `text` already.
    pub(super) fn put_session(&self, key: &StoreKey, text: &mut BytesMut) {
        text.put_slice(&self.prefix);
        let digits = key
            .as_bytes()
            .map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        text.put_slice(digits.as_flattened());
    }

    /// How many bytes a session's name has.
    pub(super) fn session_len(&self) -> usize {
        self.prefix.len() + 2 * StoreKey::LEN
    }

    /// The session whose record has this name.
    pub(super) fn key(&self, name: &[u8]) -> Option<StoreKey> {
        let digits = name.strip_prefix(&*self.prefix)?;
        let mut key = [0; StoreKey::LEN];
        let (pairs, []) = digits.as_chunks() else {
            return None;
        };
        if pairs.len() != key.len() {
            return None;
        }
        for (byte, &[high, low]) in key.iter_mut().zip(pairs) {
            *byte = value(high)? << 4 | value(low)?;
        }
        Some(StoreKey::from_bytes(key))
    }

    /// Where a tag's index is: the prefix, `tag:`, and the tag as it is. No session's name is like
    /// it, since `t` is no digit.
    pub(super) fn tag(&self, tag: &str) -> Bytes {
        [&*self.prefix, &b"tag:"[..], tag.as_bytes()]
            .concat()
            .into()
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
