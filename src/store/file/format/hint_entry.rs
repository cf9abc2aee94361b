//! The entries of a hint file: frames without their data, each relative to the one before it.

use bytes::{Buf, BufMut};

use super::{
    frame::{FrameHeader, FrameKind},
    payload,
    segment_end::SegmentEnd,
    segment_head::SEGMENT_HEAD_LEN,
};
use crate::{clock::Timestamp, id::StoreKey, seal::KEY_ID_TEXT_LEN};

const TAGGED: u8 = 1 << 6;
const ENCRYPTED: u8 = 1 << 7;

/// One frame in a hint file.
pub(crate) struct HintEntry<'a> {
    pub(crate) offset: u32,
    /// The frame's header. The checksum of the payload is 0 if the entry was decoded.
    pub(crate) header: FrameHeader,
    /// The part of the payload that an opening needs: plain tags, the beginning of a sealed text with the id
    /// of its key, the end of a segment, or the damaged places.
    pub(crate) payload: &'a [u8],
}

/// The fields that the next entry is relative to.
#[derive(Clone)]
struct EntryContext {
    /// The end of the last frame.
    end: u32,
    synced: u32,
    /// Version and expiry of the last frame that concerns a key.
    version: u64,
    expires: u64,
}

impl HintEntry<'_> {
    /// Returns the end of the frame.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + self.header.frame_len()
    }
}

impl EntryContext {
    const fn new() -> Self {
        Self {
            end: SEGMENT_HEAD_LEN as u32,
            synced: 0,
            version: 0,
            expires: 0,
        }
    }

    const fn advance(&mut self, end: u32, header: &FrameHeader) {
        self.end = end;
        self.synced = header.synced;
        if header.concerns_key() {
            self.version = header.version;
            self.expires = header.expires.as_millis();
        }
    }
}

/// Encodes `entries`, whose offsets ascend.
pub(super) fn encode<'a>(entries: impl Iterator<Item = &'a HintEntry<'a>>) -> Vec<u8> {
    let (mut out, mut context) = (Vec::new(), EntryContext::new());
    for entry in entries {
        let HintEntry {
            offset,
            header,
            payload,
        } = entry;
        let flags = (u8::from(header.tagged) * TAGGED) | (u8::from(header.encrypted) * ENCRYPTED);
        out.put_u8(header.kind as u8 | flags);
        put_number(&mut out, offset.wrapping_sub(context.end).into());
        put_number(&mut out, header.len.into());
        let expires = header.expires.as_millis();
        put_difference(&mut out, header.synced.into(), context.synced.into());
        put_difference(&mut out, header.version, context.version);
        put_difference(&mut out, expires, context.expires);
        if header.concerns_key() {
            out.put_slice(header.key.as_bytes());
        }
        out.put_slice(payload);
        // A segment is shorter than 4 GiB.
        context.advance(entry.end() as u32, header);
    }
    out
}

/// An iterator over encoded entries. It ends at the first one that is malformed.
#[derive(Clone)]
pub(crate) struct HintEntries<'a> {
    rest: &'a [u8],
    context: EntryContext,
    /// The end of the segment's last frame.
    end: u32,
}

impl<'a> HintEntries<'a> {
    /// Iterates over the entries in `body`. No frame exceeds `end`.
    pub(super) const fn new(body: &'a [u8], end: u32) -> Self {
        Self {
            rest: body,
            context: EntryContext::new(),
            end,
        }
    }

    /// Returns the number of entries and the last one, or `None` if an entry is malformed.
    pub(super) fn check_all(mut self) -> Option<(u32, Option<HintEntry<'a>>)> {
        let (mut count, mut before_last) = (0, None);
        while !self.rest.is_empty() {
            before_last = Some(self.clone());
            self.next()?;
            count += 1;
        }
        let last = before_last.and_then(|mut entries| entries.next());
        Some((count, last))
    }

    fn decode(&self, rest: &mut &'a [u8]) -> Option<(HintEntry<'a>, u32)> {
        let (context, flags) = (&self.context, rest.try_get_u8().ok()?);
        let kind = FrameKind::from_version_2(flags & !(TAGGED | ENCRYPTED))?;
        let [gap, len, synced, version, expires] = take_numbers(rest)?;
        let offset = context.end.checked_add(u32::try_from(gap).ok()?)?;
        let len = u32::try_from(len).ok()?;
        let synced = add_difference(context.synced.into(), synced);
        let version = add_difference(context.version, version);
        let expires = Timestamp::from_millis(add_difference(context.expires, expires));
        let mut header = FrameHeader {
            tagged: flags & TAGGED != 0,
            encrypted: flags & ENCRYPTED != 0,
            len,
            synced: u32::try_from(synced).ok()?,
            expires,
            ..FrameHeader::without_key(kind, version)
        };
        if header.concerns_key() {
            let (key, after) = rest.split_first_chunk()?;
            header.key = StoreKey::from_bytes(*key);
            *rest = after;
        }
        let payload = kept_payload(&header, rest)?;
        *rest = rest.get(payload.len()..)?;
        let entry = HintEntry {
            offset,
            header,
            payload,
        };
        let end = u32::try_from(entry.end()).ok()?;
        (end <= self.end).then_some((entry, end))
    }
}

impl<'a> Iterator for HintEntries<'a> {
    type Item = HintEntry<'a>;

    fn next(&mut self) -> Option<HintEntry<'a>> {
        let mut rest = self.rest;
        let (entry, end) = self.decode(&mut rest)?;
        self.rest = rest;
        self.context.advance(end, &entry.header);
        Some(entry)
    }
}

/// Returns the part of a hint entry after the key, of which `bytes` is the beginning.
pub(super) fn kept_payload<'a>(header: &FrameHeader, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if header.has_plain_tags() {
        payload::head(bytes)
    } else if header.encrypted {
        let len = KEY_ID_TEXT_LEN.min(header.len as usize);
        bytes.get(..len)
    } else if header.kind == FrameKind::Start {
        bytes.get(..SegmentEnd::LEN)
    } else if header.kind == FrameKind::Recovered {
        bytes.get(..header.len as usize)
    } else {
        Some(&[])
    }
}

/// Appends a number: seven bits a byte, the lowest first; the highest bit of a byte is set if
/// another byte follows.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Decodes several numbers, one after the other.
fn take_numbers<const N: usize>(rest: &mut &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = take_number(rest)?;
    }
    Some(numbers)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        // Most numbers have one byte.
        if *byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

/// Appends the difference of two numbers, modulo 2^64. Its sign is the lowest bit, so that small ones are short.
fn put_difference(out: &mut Vec<u8>, number: u64, base: u64) {
    let difference = number.wrapping_sub(base).cast_signed();
    put_number(out, (difference << 1 ^ difference >> 63).cast_unsigned());
}

/// Returns the number that differs from `base` by a difference that [`put_difference`] has coded.
const fn add_difference(base: u64, coded: u64) -> u64 {
    let difference = coded >> 1 ^ (coded & 1).wrapping_neg();
    base.wrapping_add(difference)
}
