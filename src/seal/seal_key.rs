//! Keys: where they come from and what they are called.

use std::{fmt, str::FromStr, sync::Arc};

use base64_simd::{Base64, Out, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use zeroize::Zeroizing;

use super::{
    SealKeyError,
    aead::{Aead, KEY_LEN},
    kdf,
};

/// The salt of all derivations, which ties what is derived to this crate and this format: the same
/// secret used elsewhere, or by a later format, gives other keys.
const SALT: &[u8] = b"hyper-session seal 1";

/// What stands around a value that was quoted.
const QUOTES: [char; 2] = ['"', '\''];

/// A secret key that seals and opens.
///
/// It is kept ready to use, shared between clones, and overwritten in memory when the last of them
/// is dropped; [`Debug`](fmt::Debug) shows its [`id`](Self::id) and nothing else.
///
/// What is handed in never seals by itself: the sealing key and the key's id are both derived from
/// it by HKDF-SHA256 (RFC 5869).
#[derive(Clone)]
pub struct SealKey {
    id: KeyId,
    aead: Arc<Aead>,
}

impl SealKey {
    /// The shortest secret that makes a key, in bytes.
    pub const MIN_LEN: usize = 32;

    /// A new key from the operating system's random source. It is gone with the process, and all
    /// that it sealed with it: for tests, trials and development.
    ///
    /// # Errors
    /// [`SealKeyError::Entropy`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, SealKeyError> {
        Self::from_bytes(&*random()?)
    }

    /// The text of a new key, as configuration holds it: 32 bytes from the operating system's random
    /// source as base64, with `base64:` before it. It is secret: it is not wiped when dropped.
    ///
    /// # Errors
    /// [`SealKeyError::Entropy`] when the operating system gives no random bytes.
    pub fn generate_text() -> Result<String, SealKeyError> {
        Ok(format!("base64:{}", STANDARD.encode_to_string(*random()?)))
    }

    /// The key of these 32 bytes, which must come from a good random source.
    ///
    /// # Errors
    /// [`SealKeyError::Weak`] when they are a shorter text over and over.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SealKeyError> {
        Self::derive(bytes)
    }

    /// The key of a text, as configuration holds it:
    ///
    /// - 32 bytes as base64, standard or url-safe, padded or not, with `base64:` before it or
    ///   without;
    /// - 32 bytes as 64 hexadecimal digits;
    /// - any other text of at least 32 characters (bytes of UTF-8), which must be as hard to guess
    ///   as random bytes: a passphrase that a person made up is not.
    ///
    /// White space around the text is ignored, so a file's last line break does no harm.
    ///
    /// ```
    /// use hyper_session::seal::SealKey;
    ///
    /// let text = "9a".repeat(16) + &"3c".repeat(16);
    /// assert!(text.parse::<SealKey>().is_ok());
    /// assert!("changeme".parse::<SealKey>().is_err());
    /// ```
    ///
    /// # Errors
    /// When the text is too short, is a shorter one over and over, begins or ends with a quotation mark
    /// (`"` or `'`), or has the mark `base64:` and is not the base64 of 32 bytes.
    pub fn from_text(text: &str) -> Result<Self, SealKeyError> {
        let text = text.trim();
        if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
            return Err(SealKeyError::Quoted);
        }
        if let Some(encoded) = text.strip_prefix("base64:") {
            let bytes = from_base64(encoded).ok_or(SealKeyError::NotBase64)?;
            return Self::derive(&*bytes);
        }
        if text.len() < Self::MIN_LEN {
            return Err(SealKeyError::TooShort { len: text.len() });
        }
        match from_hex(text).or_else(|| from_base64(text)) {
            Some(bytes) => Self::derive(&*bytes),
            None => Self::derive(text.as_bytes()),
        }
    }

    /// The key's public name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(super) const fn aead(&self) -> &Arc<Aead> {
        &self.aead
    }

    fn derive(secret: &[u8]) -> Result<Self, SealKeyError> {
        if repeats(secret) {
            return Err(SealKeyError::Weak);
        }
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let mut id = [0; KeyId::LEN];
        // Neither fails: the output is far shorter than it may be.
        kdf::derive(SALT, secret, b"AES-256-GCM-SIV key", &mut *key).ok_or(SealKeyError::Weak)?;
        kdf::derive(SALT, secret, b"key id", &mut id).ok_or(SealKeyError::Weak)?;
        Ok(Self {
            id: KeyId(id),
            aead: Arc::new(Aead::new(&key)),
        })
    }
}

impl FromStr for SealKey {
    type Err = SealKeyError;

    fn from_str(text: &str) -> Result<Self, SealKeyError> {
        Self::from_text(text)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

/// What a key is called in sealed texts: 4 bytes that are derived from it and tell nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    pub(super) const LEN: usize = 4;

    pub(super) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

type Secret = Zeroizing<[u8; 32]>;

fn random() -> Result<Secret, SealKeyError> {
    let mut bytes = Secret::default();
    SysRng
        .try_fill_bytes(&mut *bytes)
        .map_err(|_| SealKeyError::Entropy)?;
    Ok(bytes)
}

/// Whether the bytes are a shorter text, of 32 bytes at most, over and over; of random bytes that
/// is not to be expected before the end of days.
fn repeats(bytes: &[u8]) -> bool {
    let longest = (bytes.len() / 2).min(32);
    (1..=longest).any(|len| {
        bytes
            .iter()
            .zip(bytes.iter().skip(len))
            .all(|(a, b)| a == b)
    })
}

fn from_base64(text: &str) -> Option<Secret> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|base64| decode(base64, text))
}

fn decode(base64: &Base64, text: &str) -> Option<Secret> {
    let text = text.as_bytes();
    let mut bytes = Secret::default();
    if base64.decoded_length(text).ok()? != bytes.len() {
        return None;
    }
    base64.decode(text, Out::from_slice(&mut *bytes)).ok()?;
    Some(bytes)
}

fn from_hex(text: &str) -> Option<Secret> {
    let mut bytes = Secret::default();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
