//! The plaintext of a data cookie.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format version, 1 |
//! | 1 | 1 | number of cookies that the sealed text is split over |
//! | 2 | 1 | location of the record: 0 inline, 1 in the overflow store |
//! | 3 | 32 | store key of the session |
//! | 35 | 8 | version of the record |
//! | 43 | 8 | time of sealing, in milliseconds since the Unix epoch |
//! | 51 | 8 | expiry, in milliseconds since the Unix epoch |
//! | 59 | 1 | number of tags |
//! | 60 | 10 to 265 each | tags: time of tagging (8), length of the name minus one (1), name |
//! | | | the record, if it is inline |
//!
//! Numbers are little endian.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{MAX_TAGS, Tag, Version},
};

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 60;
/// Bytes of a tag without its name.
const TAG_HEADER_LEN: usize = 8 + 1;

/// Low bits of a version, below its milliseconds.
const COUNTER_BITS: u32 = 20;

/// The tags of one session.
pub(super) type SealedTags = SmallVec<[SealedTag; 1]>;

/// An opened data cookie.
#[derive(Clone)]
pub(super) struct Payload {
    pub(super) key: StoreKey,
    pub(super) version: Version,
    pub(super) sealed_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// At most [`MAX_TAGS`].
    pub(super) tags: SealedTags,
    pub(super) body: PayloadBody,
}

/// The record, or its location.
#[derive(Clone)]
pub(super) enum PayloadBody {
    Inline(Bytes),
    Overflow,
}

/// A tag and the time at which the session was tagged.
#[derive(Clone)]
pub(super) struct SealedTag {
    /// The name of a [`Tag`]. It borrows from the opened cookie: 1 to 256 bytes of UTF-8.
    pub(super) name: Bytes,
    pub(super) tagged_at: Timestamp,
}

/// A source of versions that no two records of this process share.
///
/// A version consists of milliseconds and a counter. So versions increase, also over restarts.
#[derive(Default)]
pub(super) struct VersionClock(AtomicU64);

impl Payload {
    /// Returns the number of bytes that [`encode`](Self::encode) returns.
    pub(super) fn len(&self) -> usize {
        let body = match &self.body {
            PayloadBody::Inline(record) => record.len(),
            PayloadBody::Overflow => 0,
        };
        let tags = self.tags.iter().map(|tag| TAG_HEADER_LEN + tag.name.len());
        HEADER_LEN + tags.sum::<usize>() + body
    }

    /// Encodes the payload of a text that is split over this many cookies.
    pub(super) fn encode(&self, cookies: u8) -> Vec<u8> {
        let (location, record) = match &self.body {
            PayloadBody::Inline(record) => (0, &record[..]),
            PayloadBody::Overflow => (1, &[][..]),
        };
        let mut plain = Vec::with_capacity(self.len());
        plain.extend_from_slice(&[FORMAT, cookies, location]);
        plain.extend_from_slice(self.key.as_bytes());
        plain.extend_from_slice(&self.version.get().to_le_bytes());
        plain.extend_from_slice(&self.sealed_at.as_millis().to_le_bytes());
        plain.extend_from_slice(&self.expires_at.as_millis().to_le_bytes());
        plain.push(u8::try_from(self.tags.len()).unwrap_or(u8::MAX));
        for tag in &self.tags {
            plain.extend_from_slice(&tag.tagged_at.as_millis().to_le_bytes());
            let len = tag.name.len().saturating_sub(1);
            plain.push(u8::try_from(len).unwrap_or(u8::MAX));
            plain.extend_from_slice(&tag.name);
        }
        plain.extend_from_slice(record);
        plain
    }

    /// Decodes the payload of a text that arrived in this many cookies. Returns `None` if the format
    /// is wrong.
    pub(super) fn decode(mut plain: Bytes, cookies: usize) -> Option<Self> {
        if plain.len() < HEADER_LEN
            || plain.get_u8() != FORMAT
            || usize::from(plain.get_u8()) != cookies
        {
            return None;
        }
        let location = plain.get_u8();
        let mut key = [0; StoreKey::LEN];
        plain.copy_to_slice(&mut key);
        let version = Version::new(plain.get_u64_le())?;
        let [sealed_at, expires_at] = [(); 2].map(|()| Timestamp::from_millis(plain.get_u64_le()));
        let count = usize::from(plain.get_u8());
        if count > MAX_TAGS {
            return None;
        }
        let tags = (0..count).map(|_| SealedTag::decode(&mut plain));
        let tags = tags.collect::<Option<_>>()?;
        let body = match location {
            0 => PayloadBody::Inline(plain),
            1 if plain.is_empty() => PayloadBody::Overflow,
            _ => return None,
        };
        Some(Self {
            key: StoreKey::from_bytes(key),
            version,
            sealed_at,
            expires_at,
            tags,
            body,
        })
    }
}

impl SealedTag {
    pub(super) fn new(tag: &Tag, tagged_at: Timestamp) -> Self {
        let name = Bytes::copy_from_slice(tag.as_str().as_bytes());
        Self { name, tagged_at }
    }

    pub(super) fn is(&self, tag: &Tag) -> bool {
        self.name == tag.as_str().as_bytes()
    }

    /// Returns the tag without its time, or `None` if the name is not a valid tag.
    pub(super) fn to_tag(&self) -> Option<Tag> {
        let name = std::str::from_utf8(&self.name).ok()?;
        Tag::new(name).ok()
    }

    /// Decodes the next tag. Returns `None` if the bytes end within it or its name is not UTF-8.
    fn decode(plain: &mut Bytes) -> Option<Self> {
        let tagged_at = Timestamp::from_millis(plain.try_get_u64_le().ok()?);
        let len = usize::from(plain.try_get_u8().ok()?) + 1;
        if plain.len() < len {
            return None;
        }
        let name = plain.split_to(len);
        std::str::from_utf8(&name).ok()?;
        Some(Self { name, tagged_at })
    }
}

impl VersionClock {
    pub(super) fn next(&self, now: Timestamp) -> Version {
        let by_time = now.as_millis().min(u64::MAX >> COUNTER_BITS) << COUNTER_BITS;
        let advance = |last: u64| Some(by_time.max(last.saturating_add(1)));
        let last = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, advance)
            .unwrap_or_else(|last| last);
        Version::new(by_time.max(last.saturating_add(1))).unwrap_or(Version::FIRST)
    }
}
