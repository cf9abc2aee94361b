//! The native format.
//!
//! A record is a fixed header, then the data and the flash messages. Each is JSON text with the index
//! of its root members:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format version: 2 |
//! | 1 | 1 | kind: 0 for a session, 1 for a fence under the old id after a regeneration, 2 for a session with a pending mark |
//! | 2 | 20 | lifetime of the session |
//! | 22 | 4 | length of the data's text |
//! | 26 | 4 | length of the data's index |
//! | 30 | 4 | length of the flash messages' text |
//! | 34 | 4 | length of the flash messages' index |
//! | 38 | | data text, data index, flash text, flash index |
//!
//! A lifetime is the creation time (8 bytes), the session's own idle timeout (4 bytes), and the time of
//! its end (8 bytes). Times are milliseconds since the Unix epoch. A timeout or an end of zero means that
//! the session has none of its own. The highest bit of the timeout is set if the session's cookies have no
//! `Max-Age`. The other bits are seconds.
//!
//! Each flash message is stored as an array of a number and the message. The number distinguishes
//! messages with equal content. Numbers are little endian. Empty flash messages have no text and no
//! index.
//!
//! A pending mark follows the flash messages. It is the key of the old id (32 bytes), and the time at which the
//! record was written (8 bytes).
//!
//! A fence ends after the head. In place of the lengths, it has the first 16 bytes of the new id's key, or
//! zeros if it names none. If the fence forwards to the new id for a grace window, it has the lifetime of the
//! session, and a sealed text follows: the new id (16 bytes) and the end of the window (8 bytes). The seal is
//! bound to the key of the old id. Other fences have a lifetime of zeros.
//!
//! An id cookie begins with six base64url characters that claim the second of its last renewal. The
//! rest is a sealed text of five fields: the format version (1 byte), the id (16 bytes), that second
//! (4 bytes, little endian, since the Unix epoch), a flag (1 byte), and the lifetime of the session's
//! record (20 bytes). The flag is 1 if a record was ever stored under the id. Otherwise the flag and the
//! lifetime are zero. Because of the claim, a request whose handler does not use the session need not
//! open the seal. The session itself uses only the sealed values.

use base64_simd::{Out, URL_SAFE_NO_PAD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use zeroize::Zeroize;

use super::{
    CookieText, DecodeError, Format, Forward, IdCookie, Lifetime, OpenedIdCookie, PendingMark,
    RecordHead,
};
use crate::{
    clock::Timestamp,
    document::Document,
    id::{SessionId, StoreKey},
    seal::{Buffer, Codec, KeyRing},
};

/// The version of both formats.
const VERSION: u8 = 2;
/// Versions end before the first printable character, so that text counts as foreign, not as newer.
const VERSION_END: u8 = 0x20;
const KIND_SESSION: u8 = 0;
const KIND_FENCE: u8 = 1;
const KIND_PENDING: u8 = 2;
const LENGTHS_OFFSET: usize = 2 + Lifetime::LEN;
const HEAD_LEN: usize = LENGTHS_OFFSET + NAME_LEN;
/// Maximum unused capacity of a buffer that is reused for a record, in bytes.
const MAX_UNUSED: usize = 64;
/// Length of the lengths of a session, and of the name of a key in a fence.
const NAME_LEN: usize = 16;
const ID_PLAIN_LEN: usize = 1 + SessionId::LEN + 4 + 1 + Lifetime::LEN;
const CLAIM_LEN: usize = 6;
const FORWARD_LEN: usize = SessionId::LEN + 8;
/// The purpose of the sealed texts of fences, which the seal authenticates.
const FORWARD_PURPOSE: &str = "hyper-session fence";

/// The native format: sealed ids, and records with their own index.
#[derive(Debug)]
pub(crate) struct NativeFormat {
    ids: Codec,
    keys: KeyRing,
}

impl NativeFormat {
    pub(crate) const fn new(ids: Codec, keys: KeyRing) -> Self {
        Self { ids, keys }
    }

    /// Returns the codec of the fence under the key `from`.
    fn forwards(&self, from: &StoreKey) -> Codec {
        self.keys.codec(FORWARD_PURPOSE, &from.to_string())
    }
}

impl Format for NativeFormat {
    fn seal_id(&self, cookie: &IdCookie, out: &mut CookieText) -> Result<(), &'static str> {
        // Seconds fit into 32 bits until the year 2106. Later times are stored as the maximum.
        let seconds = u32::try_from(cookie.renewed.as_millis() / 1000).unwrap_or(u32::MAX);
        let mut plain = [0; ID_PLAIN_LEN];
        let mut rest = &mut plain[..];
        rest.put_u8(VERSION);
        rest.put_slice(cookie.id.as_bytes());
        rest.put_u32_le(seconds);
        if let Some(lifetime) = &cookie.lifetime {
            rest.put_u8(1);
            put_lifetime(lifetime, &mut rest);
        }
        let mut claim = [0; CLAIM_LEN];
        let text = URL_SAFE_NO_PAD.encode(&seconds.to_le_bytes(), Out::from_slice(&mut claim));
        out.extend_from_slice(text);
        let mut text = Buffer::new();
        let sealed = self.ids.seal(&plain, &mut text);
        out.extend_from_slice(&text);
        plain.zeroize();
        sealed.map_err(|_| "the id could not be sealed")
    }

    fn open_id(&self, text: &[u8]) -> Result<OpenedIdCookie, &'static str> {
        let (_, sealed) = text.split_first_chunk::<CLAIM_LEN>().ok_or("too short")?;
        // Saves decoding a long value that a client made up.
        if sealed.len() > Codec::sealed_len(ID_PLAIN_LEN) {
            return Err("too long");
        }
        let mut plain = Buffer::new();
        let opened = self
            .ids
            .open(sealed, &mut plain)
            .map_err(|error| error.reason().as_str())?;
        let cookie = decode_id(&plain);
        plain.zeroize();
        Ok(OpenedIdCookie {
            cookie: cookie.ok_or("authentic, but not an id cookie of this version")?,
            outdated: !opened.first_key,
        })
    }

    fn claimed_renewal(&self, text: &[u8]) -> Option<Timestamp> {
        let (claim, _) = text.split_first_chunk()?;
        decode_claim(claim).map(from_seconds)
    }

    fn encode(
        &self,
        lifetime: &Lifetime,
        data: &Document,
        flash: &Document,
        spare: Option<BytesMut>,
    ) -> Bytes {
        encode_record(lifetime, data, flash, spare)
    }

    fn fence(&self, from: &StoreKey, to: Option<&StoreKey>, forward: Option<&Forward>) -> Bytes {
        let encode = |lifetime: &Lifetime, text: &[u8]| {
            let mut bytes = Vec::with_capacity(HEAD_LEN + text.len());
            bytes.extend_from_slice(&[VERSION, KIND_FENCE]);
            put_lifetime(lifetime, &mut bytes);
            bytes.extend(to.map_or([0; NAME_LEN], fence_name));
            bytes.extend_from_slice(text);
            Bytes::from(bytes)
        };
        let plain = || encode(&Lifetime::default(), &[]);
        let Some(forward) = forward else {
            return plain();
        };
        let mut content = [0; FORWARD_LEN];
        let mut rest = &mut content[..];
        rest.put_slice(forward.id.as_bytes());
        rest.put_u64_le(forward.until.as_millis());
        let mut text = Buffer::new();
        let sealed = self.forwards(from).seal(&content, &mut text);
        content.zeroize();
        match sealed {
            Ok(_) => encode(&forward.lifetime, &text),
            Err(_) => plain(),
        }
    }

    fn fence_names(&self, record: &[u8], to: &StoreKey) -> Option<bool> {
        let (head, name) = split_head(record).ok()?;
        if !head.is_fence {
            return None;
        }
        (name != [0; NAME_LEN]).then(|| name == fence_name(to))
    }

    fn mark_pending(&self, record: &[u8], mark: &PendingMark) -> Bytes {
        let written = mark.written.as_millis().to_le_bytes();
        let mut bytes = [record, mark.from.as_bytes(), &written].concat();
        if let Some(kind) = bytes.get_mut(1) {
            *kind = KIND_PENDING;
        }
        bytes.into()
    }

    fn pending_mark(&self, record: &[u8]) -> Option<PendingMark> {
        let [VERSION, KIND_PENDING, ..] = record else {
            return None;
        };
        let (_, mut lengths) = split_head(record).ok()?;
        let mut start = HEAD_LEN;
        while lengths.has_remaining() {
            start = start.checked_add(lengths.get_u32_le() as usize)?;
        }
        let (from, written) = record.get(start..)?.split_first_chunk()?;
        let written = u64::from_le_bytes(written.try_into().ok()?);
        Some(PendingMark {
            from: StoreKey::from_bytes(*from),
            written: Timestamp::from_millis(written),
        })
    }

    fn open_forward(&self, from: &StoreKey, record: &[u8]) -> Option<Forward> {
        let (head, _) = split_head(record).ok()?;
        let text = record.get(HEAD_LEN..)?;
        if !head.is_fence || text.is_empty() {
            return None;
        }
        let mut content = Buffer::new();
        let opened = self.forwards(from).open(text, &mut content).ok();
        let forward = opened.and_then(|_| decode_forward(&content, head.lifetime));
        content.erase();
        forward
    }

    fn decode_head(&self, record: &[u8]) -> Result<RecordHead, DecodeError> {
        split_head(record).map(|(head, _)| head)
    }

    fn decode(
        &self,
        record: &Bytes,
        data: &mut Document,
        flash: &mut Document,
    ) -> Result<RecordHead, DecodeError> {
        let (record_head, mut head) = split_head(record)?;
        if record_head.is_fence {
            data.reset();
            flash.reset();
            return Ok(record_head);
        }
        let mut end = HEAD_LEN;
        for document in [data, flash] {
            let (text, index) = (head.get_u32_le() as usize, head.get_u32_le() as usize);
            end = load_document(record, end, text, index, document).ok_or(DecodeError::Damaged)?;
        }
        let is_complete = end == record.len() || self.pending_mark(record).is_some();
        is_complete
            .then_some(record_head)
            .ok_or(DecodeError::Damaged)
    }
}

/// Encodes the record of a session; see [`Format::encode`].
pub(crate) fn encode_record(
    lifetime: &Lifetime,
    data: &Document,
    flash: &Document,
    spare: Option<BytesMut>,
) -> Bytes {
    let flash = (!flash.is_empty()).then_some(flash);
    let mut head = [0; HEAD_LEN];
    let mut rest = &mut head[..];
    rest.put_slice(&[VERSION, KIND_SESSION]);
    put_lifetime(lifetime, &mut rest);
    let mut len = HEAD_LEN;
    for document in [Some(data), flash].into_iter().flatten() {
        let (text, index) = (document.text().len(), 4 * document.len());
        // The size limit of a document is far below 4 GiB.
        rest.put_u32_le(text as u32);
        rest.put_u32_le(index as u32);
        len += text + index;
    }
    let fits = |spare: &BytesMut| (len..=len + MAX_UNUSED).contains(&spare.capacity());
    let spare = spare.filter(fits);
    let is_new = spare.is_none();
    let mut bytes = spare.unwrap_or_else(|| BytesMut::with_capacity(len));
    bytes.extend_from_slice(&head);
    for document in [Some(data), flash].into_iter().flatten() {
        bytes.extend_from_slice(document.text());
        bytes.extend_from_slice(document.index());
    }
    match is_new {
        // `split` allocates the reference count here, and not in the first read. It is reused with the buffer.
        true => bytes.split().freeze(),
        false => bytes.freeze(),
    }
}

/// Returns the part of a key by which a fence names it.
fn fence_name(key: &StoreKey) -> [u8; NAME_LEN] {
    std::array::from_fn(|at| key.as_bytes()[at])
}

/// Returns the head of a record, and the bytes of the lengths after it.
fn split_head(record: &[u8]) -> Result<(RecordHead, &[u8]), DecodeError> {
    let is_newer = |version: &&u8| (VERSION + 1..VERSION_END).contains(*version);
    if let Some(newer) = record.first().filter(is_newer) {
        return Err(DecodeError::UnsupportedVersion(*newer));
    }
    let mut head = record.get(..HEAD_LEN).ok_or(DecodeError::Damaged)?;
    let is_fence = match (head.get_u8(), head.get_u8()) {
        (VERSION, kind @ KIND_SESSION..=KIND_PENDING) => kind == KIND_FENCE,
        _ => return Err(DecodeError::Damaged),
    };
    let lifetime = get_lifetime(&mut head);
    Ok((RecordHead { lifetime, is_fence }, head))
}

/// Loads the document whose text begins at `start` and returns the end of its index.
fn load_document(
    record: &Bytes,
    start: usize,
    text: usize,
    index: usize,
    document: &mut Document,
) -> Option<usize> {
    let middle = start.checked_add(text)?;
    let end = middle.checked_add(index)?;
    if start == end {
        document.reset();
        return Some(end);
    }
    record.get(start..end)?;
    document
        .load_ranges(record, start..middle, middle..end)
        .ok()?;
    Some(end)
}

/// Decodes the claim of an id cookie. Every request is checked for a claim, and a general decoder takes
/// four times as long for it.
fn decode_claim(claim: &[u8; CLAIM_LEN]) -> Option<u32> {
    const INVALID: u8 = 1 << 7;
    const DIGITS: [u8; 256] = {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut digits = [INVALID; 256];
        let mut at = 0;
        while at < alphabet.len() {
            digits[alphabet[at] as usize] = at as u8;
            at += 1;
        }
        digits
    };
    let (bits, all) = claim.iter().fold((0, 0), |(bits, all), byte| {
        let digit = DIGITS.get(usize::from(*byte)).copied().unwrap_or(INVALID);
        (bits << 6 | u64::from(digit), all | digit)
    });
    // Six digits are four bits more than the four bytes of the number.
    let is_canonical = all & INVALID == 0 && bits & 0xF == 0;
    is_canonical.then_some(((bits >> 4) as u32).swap_bytes())
}

/// Decodes the opened content of an id cookie.
fn decode_id(plain: &[u8]) -> Option<IdCookie> {
    let [VERSION, rest @ ..] = plain else {
        return None;
    };
    let (id, mut rest) = rest.split_first_chunk()?;
    if rest.len() != ID_PLAIN_LEN - 1 - SessionId::LEN {
        return None;
    }
    let renewed = from_seconds(rest.get_u32_le());
    let lifetime = match rest.get_u8() {
        0 => None,
        1 => Some(get_lifetime(&mut rest)),
        _ => return None,
    };
    Some(IdCookie {
        id: SessionId::from_bytes(*id),
        renewed,
        lifetime,
    })
}

/// Decodes the opened content of a fence.
fn decode_forward(content: &[u8], lifetime: Lifetime) -> Option<Forward> {
    let (id, until) = content.split_first_chunk()?;
    Some(Forward {
        id: SessionId::from_bytes(*id),
        until: Timestamp::from_millis(u64::from_le_bytes(until.try_into().ok()?)),
        lifetime,
    })
}

fn put_lifetime(lifetime: &Lifetime, out: &mut impl BufMut) {
    let (created, timeout, end) = lifetime.into_parts();
    out.put_u64_le(created.as_millis());
    out.put_u32_le(timeout);
    out.put_u64_le(end.as_millis());
}

/// Reads a lifetime. The caller has checked that there are enough bytes.
fn get_lifetime(bytes: &mut impl Buf) -> Lifetime {
    let (created, timeout, end) = (bytes.get_u64_le(), bytes.get_u32_le(), bytes.get_u64_le());
    Lifetime::from_parts(
        Timestamp::from_millis(created),
        timeout,
        Timestamp::from_millis(end),
    )
}

fn from_seconds(seconds: u32) -> Timestamp {
    Timestamp::from_millis(u64::from(seconds) * 1000)
}
