//! The plaintext of a data cookie.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format version, 2 |
//! | 1 | 1 | number of cookies that the sealed text is split over |
//! | 2 | 1 | location of the record: 0 inline, 1 in the overflow store |
//! | 3 | 32 | store key of the session |
//! | 35 | 8 | version of the record |
//! | 43 | 8 | time of sealing, in milliseconds since the Unix epoch |
//! | 51 | 8 | expiry, in milliseconds since the Unix epoch |
//! | 59 | 2 | length of the tags |
//! | 61 | 2 to 257 each | tags: length of the name minus one (1), name |
//! | | 8 each | times of tagging, in the order of the tags |
//! | | | the record, if it is inline |
//!
//! Numbers are little endian.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Tags, Version},
};

const FORMAT: u8 = 2;
const HEADER_LEN: usize = 61;
/// Bytes of a time of tagging.
const TIME_LEN: usize = 8;

/// Low bits of a version, below its milliseconds.
const COUNTER_BITS: u32 = 20;

/// The time at which a session got each of its tags, in their order.
type TagTimes = SmallVec<[Timestamp; 1]>;

/// An opened data cookie.
#[derive(Clone)]
pub(super) struct Payload {
    pub(super) key: StoreKey,
    pub(super) version: Version,
    pub(super) sealed_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) tags: Tags,
    /// One time for each tag.
    pub(super) tagged_at: TagTimes,
    pub(super) body: PayloadBody,
}

/// The record, or its location.
#[derive(Clone)]
pub(super) enum PayloadBody {
    Inline(Bytes),
    Overflow,
}

/// A source of versions that increase, also over restarts: milliseconds and a counter.
#[derive(Default)]
pub(super) struct VersionClock(AtomicU64);

impl Payload {
    /// Returns the number of bytes that [`encode`](Self::encode) returns.
    pub(super) fn len(&self) -> usize {
        let body = match &self.body {
            PayloadBody::Inline(record) => record.len(),
            PayloadBody::Overflow => 0,
        };
        self.len_without_record() + body
    }

    /// Returns the number of bytes if the record is in the overflow store.
    pub(super) fn len_without_record(&self) -> usize {
        HEADER_LEN + self.tags.as_bytes().len() + TIME_LEN * self.tagged_at.len()
    }

    /// Returns `true` if this payload of a session was written after `other`, or holds the same record and
    /// was renewed after it.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        (self.version, self.sealed_at) > (other.version, other.sealed_at)
    }

    /// Gives each tag that `source` also has the time of `source`. `source` is an earlier payload of
    /// the same session.
    ///
    /// So a request that runs while its user logs out everywhere does not undo the logout.
    pub(super) fn keep_tag_times(&mut self, source: &Self) {
        for (name, time) in self.tags.iter().zip(&mut self.tagged_at) {
            let mut earlier = source.tags.iter().zip(&source.tagged_at);
            if let Some((_, earlier)) = earlier.find(|(earlier, _)| *earlier == name) {
                *time = *earlier;
            }
        }
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
        let tags = self.tags.as_bytes();
        // At most `Tags::MAX_BYTES`, 16,448.
        let tags_len = u16::try_from(tags.len()).unwrap_or(u16::MAX);
        plain.extend_from_slice(&tags_len.to_le_bytes());
        plain.extend_from_slice(tags);
        for time in &self.tagged_at {
            plain.extend_from_slice(&time.as_millis().to_le_bytes());
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
        let tags_len = usize::from(plain.get_u16_le());
        if plain.len() < tags_len {
            return None;
        }
        // The tags share the memory of the opened cookie.
        let tags = Tags::from_bytes(plain.split_to(tags_len))?;
        let time = |_| plain.try_get_u64_le().ok().map(Timestamp::from_millis);
        let tagged_at = tags.iter().map(time).collect::<Option<_>>()?;
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
            tagged_at,
            body,
        })
    }
}

impl VersionClock {
    /// Returns the version of a record that replaces the one of `source`. It is above that version, also
    /// if the clock of the machine that assigned that version is ahead.
    pub(super) fn next(&self, now: Timestamp, source: Option<&Payload>) -> Version {
        let above = source.map_or(0, |source| source.version.get().saturating_add(1));
        let by_time = now.as_millis().min(u64::MAX >> COUNTER_BITS) << COUNTER_BITS;
        let advance = |last: u64| Some(by_time.max(last.saturating_add(1)));
        let last = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, advance)
            .unwrap_or_else(|last| last);
        let next = by_time.max(last.saturating_add(1)).max(above);
        Version::new(next).unwrap_or(Version::FIRST)
    }
}
