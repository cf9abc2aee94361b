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
//! | 60 | 10 to 265 each | tags: when it was put on (8), the length of its name less one (1), its name |
//! | | | the record |
//!
//! Numbers are little endian.

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{MAX_TAGS, Tag, Version},
};

const FORMAT: u8 = 1;
const HEAD: usize = 60;
/// What a tag takes beside its name.
const TAG: usize = 8 + 1;

/// The tags of one session.
pub(super) type Marks = SmallVec<[Marked; 1]>;

/// A data cookie, opened.
#[derive(Clone)]
pub(super) struct Contents {
    pub(super) key: StoreKey,
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
#[derive(Clone)]
pub(super) struct Marked {
    /// A [`Tag`]'s name, where it was read: 1 to 256 bytes of UTF-8.
    pub(super) name: Bytes,
    pub(super) since: Timestamp,
}

impl Contents {
    /// How many bytes are sealed.
    pub(super) fn len(&self) -> usize {
        let body = match &self.body {
            Body::Here(record) => record.len(),
            Body::Overflow => 0,
        };
        let tags = self.marks.iter().map(|marked| TAG + marked.name.len());
        HEAD + tags.sum::<usize>() + body
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
            plain.extend_from_slice(&marked.since.as_millis().to_le_bytes());
            let len = marked.name.len().saturating_sub(1);
            plain.push(u8::try_from(len).unwrap_or(u8::MAX));
            plain.extend_from_slice(&marked.name);
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
        let mut key = [0; StoreKey::LEN];
        plain.copy_to_slice(&mut key);
        let version = Version::new(plain.get_u64_le())?;
        let [sealed, expires] = [(); 2].map(|()| Timestamp::from_millis(plain.get_u64_le()));
        let tags = usize::from(plain.get_u8());
        if tags > MAX_TAGS {
            return None;
        }
        let marks = (0..tags).map(|_| Marked::decode(&mut plain));
        let marks = marks.collect::<Option<_>>()?;
        let body = match overflow {
            0 => Body::Here(plain),
            1 if plain.is_empty() => Body::Overflow,
            _ => return None,
        };
        Some(Self {
            key: StoreKey::from_bytes(key),
            version,
            sealed,
            expires,
            marks,
            body,
        })
    }
}

impl Marked {
    pub(super) fn new(tag: &Tag, since: Timestamp) -> Self {
        let name = Bytes::copy_from_slice(tag.as_str().as_bytes());
        Self { name, since }
    }

    pub(super) fn is(&self, tag: &Tag) -> bool {
        self.name == tag.as_str().as_bytes()
    }

    /// The tag by its name; `None` where no tag has such a name.
    pub(super) fn tag(&self) -> Option<Tag> {
        let name = std::str::from_utf8(&self.name).ok()?;
        Tag::new(name).ok()
    }

    /// The next tag; `None` where the bytes end within it, or its name is no text.
    fn decode(plain: &mut Bytes) -> Option<Self> {
        let since = Timestamp::from_millis(plain.try_get_u64_le().ok()?);
        let len = usize::from(plain.try_get_u8().ok()?) + 1;
        if plain.len() < len {
            return None;
        }
        let name = plain.split_to(len);
        std::str::from_utf8(&name).ok()?;
        Some(Self { name, since })
    }
}
