//! Bytes into sealed texts and back.

use std::{fmt, sync::Arc};

use base64_simd::{Out, URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use super::{
    KeyId, OpenError, OpenReason, SealError, SealKey,
    aead::{Aead, NONCE_LEN, TAG_LEN},
    nonce,
};

/// The longest sealed text that a [`Codec`] makes and opens unless it is told otherwise: as much
/// as the name and value of one cookie may have together.
pub const MAX_TEXT_LEN: usize = 4096;

/// Where sealed texts and opened bytes go. A sealed session id stays off the heap.
pub type Buffer = SmallVec<[u8; 128]>;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + KeyId::LEN + NONCE_LEN;

/// Seals bytes into text and opens it again, for one purpose and one name.
///
/// What a key ring, purpose and name have in common for all texts is prepared once; clones share
/// it. See the [module](super) for what a text looks like.
///
/// ```
/// use hyper_session::seal::{Buffer, KeyRing, SealKey};
///
/// let key = SealKey::from_text("a long and random secret, number one")?;
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
    keys: Arc<Keys>,
    max_text_len: usize,
}

/// The keys of a ring, ready for one purpose and name.
struct Keys {
    first: Key,
    older: Box<[Key]>,
}

struct Key {
    id: KeyId,
    aead: Arc<Aead>,
    /// What is authenticated with every text: version, key id, purpose and name.
    context: Box<[u8]>,
}

/// What is known of a text that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInfo {
    /// Whether the first key of the ring sealed it. Where it did not, seal anew, so that the older
    /// key can go one day.
    pub first_key: bool,
}

impl Codec {
    pub(super) fn new(first: &SealKey, older: &[SealKey], purpose: &str, name: &str) -> Self {
        let key = |key| Key::new(key, purpose, name);
        Self {
            keys: Arc::new(Keys {
                first: key(first),
                older: older.iter().map(key).collect(),
            }),
            max_text_len: MAX_TEXT_LEN,
        }
    }

    /// The same codec with another limit for the length of sealed texts, in bytes.
    #[must_use]
    pub fn with_max_text_len(self, max_text_len: usize) -> Self {
        Self {
            max_text_len,
            ..self
        }
    }

    /// How long the sealed text of this many bytes is.
    pub const fn sealed_len(plain: usize) -> usize {
        text_len(plain.saturating_add(HEAD_LEN + TAG_LEN))
    }

    /// Seals `plain` with the first key. What `out` held is replaced by the text, which consists
    /// of letters, digits, `-` and `_` only. Sealing the same bytes twice gives two texts.
    ///
    /// # Errors
    /// When the text would be longer than the limit, or the operating system gives no random bytes.
    /// `out` is then empty.
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
        // On the stack for all but large documents, where its size costs nothing.
        let mut raw: SmallVec<[u8; 1024]> = SmallVec::new();
        raw.reserve_exact(HEAD_LEN + plain.len() + TAG_LEN);
        raw.extend_from_slice(&head(key.id, &nonce));
        raw.extend_from_slice(plain);
        let tag = raw
            .get_mut(HEAD_LEN..)
            .and_then(|bytes| key.aead.seal(&nonce, &key.context, bytes))
            .ok_or(too_long)?;
        raw.extend_from_slice(&tag);
        encode(&raw, out);
        Ok(())
    }

    /// Opens `text` with whichever key of the ring sealed it. What `out` held is replaced by the
    /// bytes that were sealed.
    ///
    /// # Errors
    /// When it was not sealed by this ring for this purpose and name, byte by byte as it is. `out`
    /// is then empty.
    pub fn open(&self, text: &[u8], out: &mut Buffer) -> Result<OpenInfo, OpenError> {
        let opened = self.open_into(text, out);
        if opened.is_err() {
            out.clear();
        }
        opened.map_err(OpenError::new)
    }

    fn open_into(&self, text: &[u8], out: &mut Buffer) -> Result<OpenInfo, OpenReason> {
        if text.len() < text_len(HEAD_LEN + TAG_LEN) {
            return Err(OpenReason::TooShort);
        }
        if text.len() > self.max_text_len {
            return Err(OpenReason::TooLong);
        }
        decode(text, out)?;
        let (head, bytes) = out
            .split_first_chunk_mut::<HEAD_LEN>()
            .ok_or(OpenReason::TooShort)?;
        let (bytes, tag) = bytes
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(OpenReason::TooShort)?;
        let [version, a, b, c, d, ref nonce @ ..] = *head;
        if version != VERSION {
            return Err(OpenReason::UnknownVersion);
        }
        let (key, first_key) = self.keys.named([a, b, c, d])?;
        key.aead
            .open(nonce, &key.context, bytes, tag)
            .map_err(|_| OpenReason::Forged)?;
        let len = bytes.len();
        out.copy_within(HEAD_LEN..HEAD_LEN + len, 0);
        out.truncate(len);
        Ok(OpenInfo { first_key })
    }
}

impl Keys {
    /// The key of this id, and whether it is the first.
    fn named(&self, id: [u8; KeyId::LEN]) -> Result<(&Key, bool), OpenReason> {
        if *self.first.id.as_bytes() == id {
            return Ok((&self.first, true));
        }
        self.older
            .iter()
            .find(|key| *key.id.as_bytes() == id)
            .map(|key| (key, false))
            .ok_or(OpenReason::UnknownKey)
    }
}

impl Key {
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

/// Whether two sealed texts are the same. It takes the same time wherever two of one length differ:
/// how long a guess takes must not tell how much of it is right.
pub(crate) fn ct_eq(kept: &[u8], text: &[u8]) -> bool {
    let differing = kept.iter().zip(text).fold(0, |all, (a, b)| all | (a ^ b));
    kept.len() == text.len() && std::hint::black_box(differing) == 0
}

/// What stands before the sealed bytes.
fn head(id: KeyId, nonce: &[u8; NONCE_LEN]) -> [u8; HEAD_LEN] {
    let mut head = [VERSION; HEAD_LEN];
    let rest = id.as_bytes().iter().chain(nonce);
    head.iter_mut()
        .skip(1)
        .zip(rest)
        .for_each(|(at, &byte)| *at = byte);
    head
}

/// How many characters this many bytes take in base64url without padding.
const fn text_len(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

fn encode(raw: &[u8], out: &mut Buffer) {
    grow(out, text_len(raw.len()));
    let _ = URL_SAFE_NO_PAD.encode(raw, Out::from_slice(out));
}

/// Makes `out` this long. Appending slices, it sets many bytes at a time; `resize` does not.
fn grow(out: &mut Buffer, len: usize) {
    out.clear();
    out.reserve_exact(len);
    while out.len() < len {
        let zeros = &[0; 128];
        out.extend_from_slice(zeros.get(..len - out.len()).unwrap_or(zeros));
    }
}

/// The decoder takes the one proper form only: no padding, no bits set that carry nothing.
fn decode(text: &[u8], out: &mut Buffer) -> Result<(), OpenReason> {
    grow(out, URL_SAFE_NO_PAD.estimated_decoded_length(text.len()));
    let len = URL_SAFE_NO_PAD
        .decode(text, Out::from_slice(out))
        .map_err(|_| OpenReason::Encoding)?
        .len();
    out.truncate(len);
    Ok(())
}
