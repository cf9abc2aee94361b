//! The native format.
//!
//! A record is a fixed header, then the data and the flash messages. Each is JSON text with the index
//! of its root members:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format version: 1 |
//! | 1 | 1 | kind: 0 for a session, 1 for a fence under the old id after a regeneration |
//! | 2 | 8 | creation time of the session, milliseconds since the Unix epoch |
//! | 10 | 4 | length of the data's text |
//! | 14 | 4 | length of the data's index |
//! | 18 | 4 | length of the flash messages' text |
//! | 22 | 4 | length of the flash messages' index |
//! | 26 | | data text, data index, flash text, flash index |
//!
//! Each flash message is stored as an array of a number and the message. The number distinguishes
//! messages with equal content. Numbers are little endian. Empty flash messages have no text and no
//! index.
//!
//! An id cookie begins with six base64url characters that claim the second of its last renewal. The
//! rest is a sealed text of three fields: the id (16 bytes), that second (4 bytes, little endian, since
//! the Unix epoch), and a flag (1 byte). The flag is 1 if a record was ever stored under the id, else 0.
//! Because of the claim, a request whose handler does not use the session need not open the seal. The
//! session itself uses only the sealed values.

use base64_simd::{Out, URL_SAFE_NO_PAD};
use bytes::{Buf, Bytes};
use zeroize::Zeroize;

use super::{CookieText, DecodeError, Format, IdCookie, OpenedIdCookie, RecordHead};
use crate::{
    clock::Timestamp,
    document::Document,
    id::SessionId,
    seal::{Buffer, Codec},
};

const VERSION: u8 = 1;
const KIND_SESSION: u8 = 0;
const KIND_FENCE: u8 = 1;
const LENGTHS_OFFSET: usize = 10;
const HEAD_LEN: usize = 26;
const ID_PLAIN_LEN: usize = SessionId::LEN + 5;
const CLAIM_LEN: usize = 6;

/// The native format: sealed ids, and records with their own index.
#[derive(Debug)]
pub(crate) struct NativeFormat {
    ids: Codec,
}

impl NativeFormat {
    pub(crate) const fn new(ids: Codec) -> Self {
        Self { ids }
    }
}

impl Format for NativeFormat {
    fn seal_id(&self, cookie: &IdCookie, out: &mut CookieText) -> Result<(), &'static str> {
        // Seconds fit into 32 bits until the year 2106. Later times are stored as the maximum.
        let seconds = u32::try_from(cookie.renewed.as_millis() / 1000).unwrap_or(u32::MAX);
        let mut plain = [0; ID_PLAIN_LEN];
        let [id @ .., _, _, _, _, stored] = &mut plain;
        id.copy_from_slice(cookie.id.as_bytes());
        *stored = u8::from(cookie.stored);
        if let Some(renewed) = plain.get_mut(SessionId::LEN..ID_PLAIN_LEN - 1) {
            renewed.copy_from_slice(&seconds.to_le_bytes());
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
        let mut plain = Buffer::new();
        let opened = self
            .ids
            .open(sealed, &mut plain)
            .map_err(|error| error.reason().as_str())?;
        let not_an_id = "authentic, but not an id cookie";
        let (id, rest) = plain.split_first_chunk().ok_or(not_an_id)?;
        let [a, b, c, d, stored @ (0 | 1)] = *rest else {
            return Err(not_an_id);
        };
        let cookie = IdCookie {
            id: SessionId::from_bytes(*id),
            renewed: from_seconds([a, b, c, d]),
            stored: stored == 1,
        };
        plain.zeroize();
        Ok(OpenedIdCookie {
            cookie,
            outdated: !opened.first_key,
        })
    }

    fn claimed_renewal(&self, text: &[u8]) -> Option<Timestamp> {
        let (claim, _) = text.split_first_chunk::<CLAIM_LEN>()?;
        let mut seconds = [0; 4];
        URL_SAFE_NO_PAD
            .decode(claim, Out::from_slice(&mut seconds))
            .ok()?;
        Some(from_seconds(seconds))
    }

    fn encode(&self, created: Timestamp, data: &Document, flash: &Document) -> Bytes {
        encode_record(created, data, flash)
    }

    fn fence(&self) -> Bytes {
        const FENCE: [u8; HEAD_LEN] = {
            let mut head = [0; HEAD_LEN];
            head[0] = VERSION;
            head[1] = KIND_FENCE;
            head
        };
        Bytes::from_static(&FENCE)
    }

    fn decode(
        &self,
        record: &Bytes,
        data: &mut Document,
        flash: &mut Document,
    ) -> Result<RecordHead, DecodeError> {
        let mut head = record.get(..HEAD_LEN).ok_or(DecodeError::Damaged)?;
        let is_fence = match (head.get_u8(), head.get_u8()) {
            (VERSION, kind @ (KIND_SESSION | KIND_FENCE)) => kind == KIND_FENCE,
            (version, _) if version > VERSION => {
                return Err(DecodeError::UnsupportedVersion(version));
            }
            _ => return Err(DecodeError::Damaged),
        };
        let created = Timestamp::from_millis(head.get_u64_le());
        let mut end = HEAD_LEN;
        for document in [data, flash] {
            let (text, index) = (head.get_u32_le() as usize, head.get_u32_le() as usize);
            end = load_document(record, end, text, index, document).ok_or(DecodeError::Damaged)?;
        }
        (end == record.len())
            .then_some(RecordHead { created, is_fence })
            .ok_or(DecodeError::Damaged)
    }
}

/// Encodes the record of a session; see [`Format::encode`].
pub(crate) fn encode_record(created: Timestamp, data: &Document, flash: &Document) -> Bytes {
    let capacity = |document: &Document| document.text().len() + 4 * document.len();
    let mut bytes = Vec::with_capacity(HEAD_LEN + capacity(data) + capacity(flash));
    bytes.extend_from_slice(&[VERSION, KIND_SESSION]);
    bytes.extend_from_slice(&created.as_millis().to_le_bytes());
    bytes.resize(HEAD_LEN, 0);
    let data_lengths = append_document(data, &mut bytes);
    let flash_lengths = if flash.is_empty() {
        [0; 8]
    } else {
        append_document(flash, &mut bytes)
    };
    if let Some((data, flash)) = bytes
        .get_mut(LENGTHS_OFFSET..HEAD_LEN)
        .map(|at| at.split_at_mut(8))
    {
        data.copy_from_slice(&data_lengths);
        flash.copy_from_slice(&flash_lengths);
    }
    bytes.into()
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
    let (text, index) = (record.slice(start..middle), record.slice(middle..end));
    document.load(text, index).ok()?;
    Some(end)
}

fn from_seconds(seconds: [u8; 4]) -> Timestamp {
    Timestamp::from_millis(u64::from(u32::from_le_bytes(seconds)) * 1000)
}

/// Appends a document's text and index and returns their lengths in the form of the header.
///
/// The size limit of a document is far below 4 GiB, so a length always fits.
fn append_document(document: &Document, record: &mut Vec<u8>) -> [u8; 8] {
    let start = record.len();
    record.extend_from_slice(document.text());
    let text = record.len() - start;
    document.write_index(record);
    let index = record.len() - start - text;
    let mut lengths = [0; 8];
    let (first, second) = lengths.split_at_mut(4);
    first.copy_from_slice(&u32::try_from(text).unwrap_or(u32::MAX).to_le_bytes());
    second.copy_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_le_bytes());
    lengths
}
