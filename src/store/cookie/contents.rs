//! What stands inside the seal.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format version, 1 |
//! | 1 | 1 | over how many cookies the sealed text was cut |
//! | 2 | 1 | where the record is: 0 right here, 1 in the overflow store |
//! | 3 | 32 | the session's key |
//! | 35 | 8 | the record's version |
//! | 43 | 8 | when it was sealed, milliseconds since the Unix epoch |
//! | 51 | 8 | when it expires |
//! | 59 | 1 | the number of tags |
//! | 60 | 24 each | tags: the first 16 bytes of a hash of the tag, and when it was put on |
//! | | | the record |
//!
//! Numbers are little endian.

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::{
    clock::Timestamp,
    id::Key,
    store::{MAX_TAGS, Tag, Version},
};

const FORMAT: u8 = 1;
const HEAD: usize = 60;
const MARK: usize = 16;
const TAG: usize = MARK + 8;

/// The tags of one session.
pub(super) type Marks = SmallVec<[Marked; 1]>;

/// A data cookie, opened.
#[derive(Clone)]
pub(super) struct Contents {
    pub(super) key: Key,
    pub(super) version: Version,
    pub(super) sealed: Timestamp,
    pub(super) expires: Timestamp,
    /// At most [`MAX_TAGS`].
    pub(super) marks: Marks,
    pub(super) body: Body,
}

/// Where a record is.
#[derive(Clone)]
pub(super) enum Body {
    Here(Bytes),
    Overflow,
}

/// A tag, and when it was put on.
#[derive(Clone, Copy)]
pub(super) struct Marked {
    pub(super) mark: Mark,
    pub(super) since: Timestamp,
}

/// What stands for a tag's name: sixteen bytes of its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark([u8; MARK]);

impl Mark {
    pub(super) fn of(tag: &Tag) -> Self {
        let hash = Key::derived("tag", tag.as_str().as_bytes());
        let [mark, _] = *hash.as_bytes().as_chunks().0 else {
            return Self([0; MARK]);
        };
        Self(mark)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; MARK] {
        &self.0
    }
}

impl Contents {
    /// How many bytes are sealed.
    pub(super) fn len(&self) -> usize {
        let body = match &self.body {
            Body::Here(record) => record.len(),
            Body::Overflow => 0,
        };
        HEAD + TAG * self.marks.len() + body
    }

    /// The bytes to seal, whose text is cut over this many cookies.
    pub(super) fn encode(&self, cookies: u8) -> Vec<u8> {
        let (overflow, record) = match &self.body {
            Body::Here(record) => (0, &record[..]),
            Body::Overflow => (1, &[][..]),
        };
        let mut plain = Vec::with_capacity(self.len());
        plain.extend_from_slice(&[FORMAT, cookies, overflow]);
        plain.extend_from_slice(self.key.as_bytes());
        plain.extend_from_slice(&self.version.get().to_le_bytes());
        plain.extend_from_slice(&self.sealed.as_millis().to_le_bytes());
        plain.extend_from_slice(&self.expires.as_millis().to_le_bytes());
        plain.push(u8::try_from(self.marks.len()).unwrap_or(u8::MAX));
        for marked in &self.marks {
            plain.extend_from_slice(marked.mark.as_bytes());
            plain.extend_from_slice(&marked.since.as_millis().to_le_bytes());
        }
        plain.extend_from_slice(record);
        plain
    }

    /// Reads bytes whose text came in this many cookies; `None` where they are none of ours.
    pub(super) fn decode(mut plain: Bytes, cookies: usize) -> Option<Self> {
        if plain.len() < HEAD || plain.get_u8() != FORMAT || usize::from(plain.get_u8()) != cookies
        {
            return None;
        }
        let overflow = plain.get_u8();
        let mut key = [0; Key::LEN];
        plain.copy_to_slice(&mut key);
        let version = Version::new(plain.get_u64_le())?;
        let [sealed, expires] = [(); 2].map(|()| Timestamp::from_millis(plain.get_u64_le()));
        let tags = usize::from(plain.get_u8());
        if tags > MAX_TAGS || plain.len() < tags * TAG {
            return None;
        }
        let marks = (0..tags).map(|_| Marked::decode(&mut plain)).collect();
        let body = match overflow {
            0 => Body::Here(plain),
            1 if plain.is_empty() => Body::Overflow,
            _ => return None,
        };
        Some(Self {
            key: Key::from_bytes(key),
            version,
            sealed,
            expires,
            marks,
            body,
        })
    }
}

impl Marked {
    /// The next tag of bytes that are long enough for it.
    fn decode(plain: &mut Bytes) -> Self {
        let mut mark = [0; MARK];
        plain.copy_to_slice(&mut mark);
        Self {
            mark: Mark(mark),
            since: Timestamp::from_millis(plain.get_u64_le()),
        }
    }
}
