//! Errors of keys and sealed texts.

use std::fmt;

use super::{KeyId, MAX_KEYS};

/// The error of creating a key.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealKeyError {
    /// The text is too short to be hard to guess.
    #[error(
        "key has {len} bytes, minimum is 32; use 32 bytes as base64 or as 64 hexadecimal digits, or \
         a longer secret"
    )]
    TooShort {
        /// The length of the text in bytes of UTF-8.
        len: usize,
    },
    /// The text begins with `base64:`, but the rest is not the base64 of 32 bytes.
    #[error(
        "key begins with \"base64:\", but the rest is not the base64 of 32 bytes; copy the whole key"
    )]
    NotBase64,
    /// The text begins or ends with a quotation mark. Some readers of environment files pass on the
    /// marks around a value, which would make it another key.
    #[error("key begins or ends with a quotation mark; remove the quotation marks")]
    Quoted,
    /// The key repeats one byte, or a shorter text.
    #[error("key repeats a shorter text; use 32 random bytes")]
    Weak,
    /// The operating system provides no random bytes.
    #[error("cannot generate a key: the operating system provides no random bytes")]
    Entropy,
}

impl fmt::Debug for SealKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` prints the `Debug` text of an error that it returns.
        fmt::Display::fmt(self, f)
    }
}

/// The error of adding a key to a key ring.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The ring is full.
    #[error("key ring is full, limit is {MAX_KEYS} keys; remove the oldest")]
    Full,
    /// The ring has a key with this id, which is almost certainly the same key.
    #[error("key {id} is already in the key ring; list each key once")]
    Duplicate {
        /// The id of both keys.
        id: KeyId,
    },
}

impl fmt::Debug for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` prints the `Debug` text of an error that it returns.
        fmt::Display::fmt(self, f)
    }
}

/// The error of sealing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The sealed text would exceed the codec's limit and could not be opened.
    #[error(
        "cannot seal {len} bytes: the sealed text would be too long, limit is {max} characters; \
         seal less"
    )]
    TooLong {
        /// The number of bytes to seal.
        len: usize,
        /// The codec's maximum length of a sealed text.
        max: usize,
    },
    /// The operating system provides no random bytes.
    #[error("cannot seal: the operating system provides no random bytes")]
    Entropy,
}

/// The error of opening a sealed text.
///
/// All failures have the same [`Display`](std::fmt::Display) text, and a client must see no
/// difference either, because details help an attacker to forge. The [`reason`](Self::reason) is for events
/// and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot open the sealed text")]
pub struct OpenError(OpenReason);

impl OpenError {
    pub(super) const fn new(reason: OpenReason) -> Self {
        Self(reason)
    }

    /// Returns the reason, for the operator of the service. Do not send it to the client.
    pub const fn reason(self) -> OpenReason {
        self.0
    }
}

/// The reason why a sealed text cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenReason {
    /// The text is shorter than any sealed text.
    TooShort,
    /// The text is longer than the codec's limit.
    TooLong,
    /// The text is not canonical base64url.
    Encoding,
    /// The text has a format version that this crate does not support.
    UnknownVersion,
    /// The text was sealed with a key that is not in the ring.
    UnknownKey,
    /// The text was changed or forged, or was sealed for another purpose or name.
    Forged,
}

impl OpenReason {
    /// Returns the reason as one lower-case word, for example as a metrics label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Encoding => "encoding",
            Self::UnknownVersion => "unknown_version",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
        }
    }
}
