//! Sealing of bytes into text, and opening of sealed text.

#[cfg(all(feature = "file", unix))]
mod key_id;

use std::{fmt, sync::Arc};

use base64_simd::{Out, URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use super::{
    Buffer, KeyId, OpenError, OpenReason, SealError, SealKey,
    aead::{Aead, NONCE_LEN, TAG_LEN},
    nonce,
};

#[cfg(all(feature = "file", unix))]
pub(crate) use self::key_id::{KEY_ID_TEXT_LEN, key_id};

/// Default maximum length of a sealed text in bytes: the limit for the name and value of one cookie.
pub const MAX_TEXT_LEN: usize = 4096;

const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + KeyId::LEN + NONCE_LEN;

/// A codec that seals bytes into text and opens sealed text, for one purpose and one name.
///
/// A codec prepares its keys once; clones share them. See the [module](super) for the format of a
/// sealed text.
///
/// ```
/// use hyper_session::seal::{Buffer, KeyRing, SealKey};
///
/// let key = SealKey::from_text("the first secret of thirty-two characters")?;
/// let codec = KeyRing::new(key).codec("session id", "sid");
///
/// let (mut text, mut plain) = (Buffer::new(), Buffer::new());
/// codec.seal(b"secret", &mut text)?;
/// assert!(codec.open(&text, &mut plain)?.first_key);
/// assert_eq!(plain.as_slice(), b"secret");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Codec {
    keys: Arc<DerivedKeys>,
    max_text_len: usize,
}

/// The keys of a ring, prepared for one purpose and name.
struct DerivedKeys {
    first: DerivedKey,
    previous: Box<[DerivedKey]>,
}

struct DerivedKey {
    id: KeyId,
    aead: Arc<Aead>,
    /// The bytes to authenticate with every text: version, key id, purpose and name.
    context: Box<[u8]>,
}

/// Information about an opened text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInfo {
    /// `true` if the first key of the ring sealed the text. Otherwise seal the content again, so that
    /// the previous key can be removed from the ring later.
    pub first_key: bool,
}

impl Codec {
    pub(super) fn new(first: &SealKey, previous: &[SealKey], purpose: &str, name: &str) -> Self {
        let key = |key| DerivedKey::new(key, purpose, name);
        Self {
            keys: Arc::new(DerivedKeys {
                first: key(first),
                previous: previous.iter().map(key).collect(),
            }),
            max_text_len: MAX_TEXT_LEN,
        }
    }

    /// Sets the maximum length of sealed texts, in bytes.
    #[must_use]
    pub fn with_max_text_len(self, max_text_len: usize) -> Self {
        Self {
            max_text_len,
            ..self
        }
    }

    /// Returns the length of the sealed text for `plain_len` bytes.
    pub const fn sealed_len(plain_len: usize) -> usize {
        text_len(plain_len.saturating_add(HEADER_LEN + TAG_LEN))
    }

    /// Seals `plain` with the first key and replaces the content of `out` with the text. The text has
    /// letters, digits, `-` and `_` only. Sealing the same bytes twice gives two different texts.
    ///
    /// # Errors
    /// If the text would exceed the limit, or the operating system provides no random bytes. `out` is
    /// then empty.
    pub fn seal(&self, plain: &[u8], out: &mut Buffer) -> Result<(), SealError> {
        out.clear();
        let too_long = SealError::TooLong {
            len: plain.len(),
            max: self.max_text_len,
        };
        if Self::sealed_len(plain.len()) > self.max_text_len {
            return Err(too_long);
        }
        let key = &self.keys.first;
        let nonce = nonce::random()?;
        // Inline for all but large documents, where an allocation does not matter.
        let mut raw: SmallVec<[u8; 1024]> = SmallVec::new();
        raw.reserve_exact(HEADER_LEN + plain.len() + TAG_LEN);
        raw.extend_from_slice(&header(key.id, &nonce));
        raw.extend_from_slice(plain);
        let tag = raw
            .get_mut(HEADER_LEN..)
            .and_then(|bytes| key.aead.seal(&nonce, &key.context, bytes))
            .ok_or(too_long)?;
        raw.extend_from_slice(&tag);
        encode(&raw, out);
        Ok(())
    }

    /// Opens `text` with the key of the ring that sealed it, and replaces the content of `out` with the
    /// opened bytes.
    ///
    /// # Errors
    /// If `text` is not exactly a text that this ring sealed for this purpose and name. `out` is then
    /// empty.
    pub fn open(&self, text: &[u8], out: &mut Buffer) -> Result<OpenInfo, OpenError> {
        let result = self.open_into(text, out);
        if result.is_err() {
            out.clear();
        }
        result.map_err(OpenError::new)
    }

    fn open_into(&self, text: &[u8], out: &mut Buffer) -> Result<OpenInfo, OpenReason> {
        if text.len() < text_len(HEADER_LEN + TAG_LEN) {
            return Err(OpenReason::TooShort);
        }
        if text.len() > self.max_text_len {
            return Err(OpenReason::TooLong);
        }
        decode(text, out)?;
        let (header, bytes) = out
            .split_first_chunk_mut::<HEADER_LEN>()
            .ok_or(OpenReason::TooShort)?;
        let (bytes, tag) = bytes
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(OpenReason::TooShort)?;
        let [version, a, b, c, d, ref nonce @ ..] = *header;
        if version != VERSION {
            return Err(OpenReason::UnknownVersion);
        }
        let (key, first_key) = self.keys.find([a, b, c, d])?;
        key.aead
            .open(nonce, &key.context, bytes, tag)
            .map_err(|_| OpenReason::Forged)?;
        let len = bytes.len();
        out.copy_within(HEADER_LEN..HEADER_LEN + len, 0);
        out.truncate(len);
        Ok(OpenInfo { first_key })
    }
}

impl DerivedKeys {
    /// Returns the key with this id, and `true` if it is the first key.
    fn find(&self, id: [u8; KeyId::LEN]) -> Result<(&DerivedKey, bool), OpenReason> {
        if *self.first.id.as_bytes() == id {
            return Ok((&self.first, true));
        }
        self.previous
            .iter()
            .find(|key| *key.id.as_bytes() == id)
            .map(|key| (key, false))
            .ok_or(OpenReason::UnknownKey)
    }
}

impl DerivedKey {
    fn new(key: &SealKey, purpose: &str, name: &str) -> Self {
        let id = key.id();
        let parts: [&[u8]; 5] = [
            &[VERSION],
            id.as_bytes(),
            &(purpose.len() as u64).to_le_bytes(),
            purpose.as_bytes(),
            name.as_bytes(),
        ];
        Self {
            id,
            aead: Arc::clone(key.aead()),
            context: parts.concat().into(),
        }
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("first", &self.keys.first.id)
            .field("max_text_len", &self.max_text_len)
            .finish_non_exhaustive()
    }
}

/// Compares two sealed texts in constant time. For two texts of one length, the time does not
/// depend on the position of a difference.
pub(crate) fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    const BLOCK: usize = 16;
    if a.len() != b.len() {
        return false;
    }
    // A vector register holds a block.
    let add_difference = |all: [u8; BLOCK], (a, b): (&[u8; BLOCK], &[u8; BLOCK])| {
        std::array::from_fn(|at| all[at] | (a[at] ^ b[at]))
    };
    let blocks = a.as_chunks().0.iter().zip(b.as_chunks().0);
    let mut all = blocks.fold([0; BLOCK], add_difference);
    let rest = match (a.last_chunk(), b.last_chunk()) {
        // The last block may contain bytes of the one before.
        (Some(a), Some(b)) => {
            all = add_difference(all, (a, b));
            0
        }
        _ => a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)),
    };
    std::hint::black_box(u128::from_ne_bytes(all) | u128::from(rest)) == 0
}

/// Returns the header: the bytes before the sealed bytes.
fn header(id: KeyId, nonce: &[u8; NONCE_LEN]) -> [u8; HEADER_LEN] {
    let mut header = [VERSION; HEADER_LEN];
    let rest = id.as_bytes().iter().chain(nonce);
    header
        .iter_mut()
        .skip(1)
        .zip(rest)
        .for_each(|(to, &byte)| *to = byte);
    header
}

/// Returns the length of this many bytes in base64url without padding.
const fn text_len(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

fn encode(raw: &[u8], out: &mut Buffer) {
    out.fill_zeros(text_len(raw.len()));
    let _ = URL_SAFE_NO_PAD.encode(raw, Out::from_slice(out));
}

/// Decodes canonical base64url. Rejects padding, and a last character with unused bits set.
fn decode(text: &[u8], out: &mut Buffer) -> Result<(), OpenReason> {
    out.fill_zeros(URL_SAFE_NO_PAD.estimated_decoded_length(text.len()));
    let len = URL_SAFE_NO_PAD
        .decode(text, Out::from_slice(out))
        .map_err(|_| OpenReason::Encoding)?
        .len();
    out.truncate(len);
    Ok(())
}
