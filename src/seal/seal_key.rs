//! Seal keys and their ids.

use std::{fmt, str::FromStr, sync::Arc};

use base64_simd::{Base64, Out, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{
    SealKeyError,
    aead::{Aead, KEY_LEN},
    kdf,
};

/// The salt of all derivations. It binds the derived keys to this crate and this format: the same
/// secret gives other keys elsewhere, or in a later format.
const SALT: &[u8] = b"hyper-session seal 1";

/// The length of a fingerprint in bytes.
const FINGERPRINT_LEN: usize = 16;

const QUOTES: [char; 2] = ['"', '\''];

/// A secret key that seals cookies and session data, and opens them.
///
/// Clones share the expanded key. It is zeroized when the last clone is dropped.
/// [`Debug`](fmt::Debug) shows the [`id`](Self::id) only.
///
/// The secret is not used directly: HKDF-SHA256 (RFC 5869) derives the encryption key and the key's
/// id from it.
#[derive(Clone)]
#[doc(alias = "secret")]
#[doc(alias = "APP_KEY")]
pub struct SealKey {
    id: KeyId,
    fingerprint: [u8; FINGERPRINT_LEN],
    aead: Arc<Aead>,
}

impl SealKey {
    /// Minimum length of a secret text in bytes.
    pub const MIN_LEN: usize = 32;

    /// Generates a key from the operating system's random source. The key exists in this process only,
    /// so texts that it seals cannot be opened after a restart. Use it for tests and development.
    ///
    /// # Errors
    /// [`SealKeyError::Entropy`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, SealKeyError> {
        Self::from_bytes(&*random_bytes()?)
    }

    /// Generates the text of a key for the configuration: `base64:` and the base64 of 32 bytes from
    /// the operating system's random source. The text is secret, and is not zeroized on drop.
    ///
    /// # Errors
    /// [`SealKeyError::Entropy`] if the operating system provides no random bytes.
    pub fn generate_text() -> Result<String, SealKeyError> {
        Ok(format!(
            "base64:{}",
            STANDARD.encode_to_string(*random_bytes()?)
        ))
    }

    /// Creates a key from 32 bytes, which must come from a cryptographic random source.
    ///
    /// # Errors
    /// [`SealKeyError::Weak`] if the bytes are a repeated shorter sequence.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SealKeyError> {
        Self::derive(bytes)
    }

    /// Creates a key from the text of a configuration. The text is one of:
    ///
    /// - 32 bytes as base64, standard or URL-safe, with or without padding, optionally after
    ///   `base64:`;
    /// - 32 bytes as 64 hexadecimal digits;
    /// - any other text of at least 32 characters (bytes of UTF-8). It must be as hard to guess as
    ///   random bytes, which a passphrase of a person is not.
    ///
    /// White space around the text is ignored, for example a line break at the end of a file.
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
    /// If the text is too short, repeats a shorter text, or begins or ends with a quotation mark (`"` or
    /// `'`). Also if it begins with `base64:` and the rest is not the base64 of 32 bytes.
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

    /// Returns the key's id, which is not secret.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(super) const fn fingerprint(&self) -> [u8; FINGERPRINT_LEN] {
        self.fingerprint
    }

    pub(super) const fn aead(&self) -> &Arc<Aead> {
        &self.aead
    }

    fn derive(secret: &[u8]) -> Result<Self, SealKeyError> {
        if is_repetition(secret) {
            return Err(SealKeyError::Weak);
        }
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let mut id = [0; KeyId::LEN];
        // Neither fails. The output is much shorter than the limit.
        kdf::derive(SALT, secret, b"AES-256-GCM-SIV key", &mut *key).ok_or(SealKeyError::Weak)?;
        kdf::derive(SALT, secret, b"key id", &mut id).ok_or(SealKeyError::Weak)?;
        let mut fingerprint = [0; FINGERPRINT_LEN];
        kdf::derive(SALT, secret, b"application fingerprint", &mut fingerprint)
            .ok_or(SealKeyError::Weak)?;
        Ok(Self {
            id: KeyId(id),
            fingerprint,
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

/// The id of a key in sealed texts: 4 bytes that are derived from the key and do not reveal it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 4]);

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

type SecretBytes = Zeroizing<[u8; 32]>;

fn random_bytes() -> Result<SecretBytes, SealKeyError> {
    let mut bytes = SecretBytes::default();
    getrandom::fill(&mut *bytes).map_err(|_| SealKeyError::Entropy)?;
    Ok(bytes)
}

/// Returns `true` if the bytes are a repeated sequence of at most 32 bytes. The probability that
/// random bytes are one is negligible.
fn is_repetition(bytes: &[u8]) -> bool {
    let max_len = (bytes.len() / 2).min(32);
    (1..=max_len).any(|len| {
        bytes
            .iter()
            .zip(bytes.iter().skip(len))
            .all(|(a, b)| a == b)
    })
}

fn from_base64(text: &str) -> Option<SecretBytes> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|base64| decode(base64, text))
}

fn decode(base64: &Base64, text: &str) -> Option<SecretBytes> {
    let text = text.as_bytes();
    let mut bytes = SecretBytes::default();
    if base64.decoded_length(text).ok()? != bytes.len() {
        return None;
    }
    base64.decode(text, Out::from_slice(&mut *bytes)).ok()?;
    Some(bytes)
}

fn from_hex(text: &str) -> Option<SecretBytes> {
    let mut bytes = SecretBytes::default();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(bytes)
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
