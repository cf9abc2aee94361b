//! Hint files: an independent decoder of their entries, and a writer of whole files.

const HEAD_LEN_OF_SEGMENT: u64 = 36;
const HEADER_LEN: u64 = 68;
pub const HINT_HEAD_LEN: usize = 52;
const KEY_LEN: usize = 32;

/// A decoded entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    pub kind: u8,
    /// 64 if the frame is tagged, plus 128 if it is encrypted.
    pub flags: u8,
    pub len: u64,
    pub synced: u64,
    pub version: u64,
    pub expires: u64,
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Entry {
    pub const fn concerns_key(&self) -> bool {
        matches!(self.kind, 1..=3)
    }

    pub const fn end(&self) -> u64 {
        self.offset + HEADER_LEN + self.len
    }
}

/// The fields that the next entry is relative to.
struct Base {
    end: u64,
    synced: u64,
    version: u64,
    expires: u64,
}

impl Base {
    fn after(entries: &[Entry]) -> Self {
        let last = entries.last();
        let of_key = entries.iter().rev().find(|entry| entry.concerns_key());
        Self {
            end: last.map_or(HEAD_LEN_OF_SEGMENT, Entry::end),
            synced: last.map_or(0, |entry| entry.synced),
            version: of_key.map_or(0, |entry| entry.version),
            expires: of_key.map_or(0, |entry| entry.expires),
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u128;
    for index in 0..10 {
        let byte = take(bytes, 1)?[0];
        number |= u128::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some(number as u64);
        }
    }
    None
}

fn apply_difference(base: u64, coded: u64) -> u64 {
    let half = coded / 2;
    if coded % 2 == 0 {
        base.wrapping_add(half)
    } else {
        base.wrapping_sub(half).wrapping_sub(1)
    }
}

fn take_entry(bytes: &mut &[u8], base: &Base, end: u64) -> Option<Entry> {
    let first = take(bytes, 1)?[0];
    let (kind, flags) = (first & 0x3f, first & 0xc0);
    let gap = take_number(bytes)?;
    let len = take_number(bytes)?;
    let synced = take_number(bytes)?;
    let version = take_number(bytes)?;
    let expires = take_number(bytes)?;
    let fits = |number: u64| u32::try_from(number).is_ok();
    let mut entry = Entry {
        offset: base.end.checked_add(gap)?,
        kind,
        flags,
        len,
        synced: apply_difference(base.synced, synced),
        version: apply_difference(base.version, version),
        expires: apply_difference(base.expires, expires),
        key: Vec::new(),
        payload: Vec::new(),
    };
    if !(1..=9).contains(&kind) || ![gap, len, entry.synced].into_iter().all(fits) {
        return None;
    }
    if entry.concerns_key() {
        entry.key = take(bytes, KEY_LEN)?.to_vec();
    }
    let kept = match (flags, kind) {
        (64, _) => 2 + usize::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        (128.., _) => len.min(8) as usize,
        (_, 8) => 20,
        (_, 9) => len as usize,
        _ => 0,
    };
    entry.payload = take(bytes, kept)?.to_vec();
    (entry.end() <= end).then_some(entry)
}

/// Decodes the entries of a hint whose segment's last frame ends at `end`. Returns those up to the first
/// malformed one, and `true` if there is no malformed one.
pub fn decode(body: &[u8], end: u64) -> (Vec<Entry>, bool) {
    let (mut entries, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let Some(entry) = take_entry(&mut rest, &Base::after(&entries), end) else {
            return (entries, false);
        };
        entries.push(entry);
    }
    (entries, true)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_difference(out: &mut Vec<u8>, number: u64, base: u64) {
    let difference = number.wrapping_sub(base) as i64;
    put_number(out, (difference << 1 ^ difference >> 63) as u64);
}

/// Returns an encoded entry that follows `entries`.
pub fn encode(entries: &[Entry], entry: &Entry) -> Vec<u8> {
    let (mut out, base) = (vec![entry.kind | entry.flags], Base::after(entries));
    put_number(&mut out, entry.offset.wrapping_sub(base.end));
    put_number(&mut out, entry.len);
    put_difference(&mut out, entry.synced, base.synced);
    put_difference(&mut out, entry.version, base.version);
    put_difference(&mut out, entry.expires, base.expires);
    out.extend_from_slice(&entry.key);
    out.extend_from_slice(&entry.payload);
    out
}

/// Returns the hint with this head, body and number of entries, and correct checksums.
pub fn file(head: &[u8], body: &[u8], count: u32) -> Vec<u8> {
    let mut hint = head[..HINT_HEAD_LEN].to_vec();
    hint[20..24].copy_from_slice(&count.to_le_bytes());
    hint[44..48].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let crc = crc32fast::hash(&hint[..48]);
    hint[48..].copy_from_slice(&crc.to_le_bytes());
    hint.extend_from_slice(body);
    hint
}
