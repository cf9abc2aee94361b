//! The names of keys in Redis.

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::StoreKey;

/// The key names of this store, all under one prefix.
///
/// A session has exactly one key, so that in a cluster all its data is in one slot.
#[derive(Clone)]
pub(super) struct KeyNames {
    prefix: Box<[u8]>,
}

impl KeyNames {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = prefix.as_bytes().into();
        Self { prefix }
    }

    /// Returns the name of a session's record: the prefix and 64 hexadecimal digits.
    pub(super) fn session(&self, key: &StoreKey) -> Bytes {
        let mut name = BytesMut::with_capacity(self.session_len());
        self.put_session(key, &mut name);
        name.freeze()
    }

    /// Appends the name of a session's record to `buffer`.
    pub(super) fn put_session(&self, key: &StoreKey, buffer: &mut BytesMut) {
        buffer.put_slice(&self.prefix);
        let mut digits = [[0; 2]; StoreKey::LEN];
        for (pair, byte) in digits.iter_mut().zip(key.as_bytes()) {
            *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        buffer.put_slice(digits.as_flattened());
    }

    /// Returns the length of a session's name in bytes.
    pub(super) fn session_len(&self) -> usize {
        self.prefix.len() + 2 * StoreKey::LEN
    }

    /// Returns a pattern of `SCAN` that all names match.
    pub(super) fn pattern(&self) -> Bytes {
        let mut pattern = BytesMut::with_capacity(self.prefix.len() + 1);
        for byte in &*self.prefix {
            if b"*?[]^-\\".contains(byte) {
                pattern.put_u8(b'\\');
            }
            pattern.put_u8(*byte);
        }
        pattern.put_u8(b'*');
        pattern.freeze()
    }

    /// Returns the session whose record has this name.
    pub(super) fn parse_session(&self, name: &[u8]) -> Option<StoreKey> {
        let digits = name.strip_prefix(&*self.prefix)?;
        let mut key = [0; StoreKey::LEN];
        let (pairs, []) = digits.as_chunks() else {
            return None;
        };
        if pairs.len() != key.len() {
            return None;
        }
        for (byte, &[high, low]) in key.iter_mut().zip(pairs) {
            *byte = hex_value(high)? << 4 | hex_value(low)?;
        }
        Some(StoreKey::from_bytes(key))
    }

    /// Returns `true` if the prefix has a hash tag, such as `{shop}`. All names are in one slot of a cluster then.
    pub(super) fn has_hash_tag(&self) -> bool {
        let mut parts = self.prefix.splitn(2, |byte| *byte == b'{').skip(1);
        let end = |rest: &[u8]| rest.iter().position(|byte| *byte == b'}');
        parts.next().and_then(end).is_some_and(|len| len > 0)
    }

    /// Returns the name of a key for tests of the server: the prefix, `test:` and a number.
    pub(super) fn test(&self, number: u32) -> Bytes {
        let number = number.to_string();
        [&*self.prefix, b"test:", number.as_bytes()].concat().into()
    }

    /// Returns the name of the [marker](super::application) of an application.
    pub(super) fn application(&self) -> Bytes {
        [&*self.prefix, b"application"].concat().into()
    }

    /// Returns the name of a tag's index: the prefix, `tag:`, and the tag itself. No session has
    /// such a name, since `t` is not a hexadecimal digit.
    pub(super) fn tag_index(&self, tag: &str) -> Bytes {
        [&*self.prefix, &b"tag:"[..], tag.as_bytes()]
            .concat()
            .into()
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
