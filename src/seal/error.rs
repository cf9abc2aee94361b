//! What can go wrong with keys and sealed texts.

use super::{KeyId, MAX_KEYS};

/// There is no key to be had, from a text or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealKeyError {
    /// There is too little of it to be hard to guess.
    #[error(
        "the key is too short: it has {len} characters, and takes 32 bytes as base64 or as 64 \
         hexadecimal digits, or any other secret of at least 32 characters"
    )]
    TooShort {
        /// How many characters it has.
        len: usize,
    },
    /// It has the mark `base64:`, and what follows is not 32 bytes of base64.
    #[error("the key begins with \"base64:\", but what follows is not the base64 of 32 bytes")]
    NotBase64,
    /// It begins or ends with a quotation mark. Some readers of environment files hand marks on that
    /// were meant to stand around the value; with them it would be another key.
    #[error(
        "the key begins or ends with a quotation mark, which would be part of it: write it without \
         the marks"
    )]
    Quoted,
    /// It is one byte, or a shorter text, over and over.
    #[error("the key is a shorter text over and over: use 32 random bytes")]
    Weak,
    /// The operating system gave no random bytes.
    #[error("the operating system's random source gave no bytes for a new key")]
    Entropy,
}

/// A key cannot be added to a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The ring is full.
    #[error("a key ring holds at most {MAX_KEYS} keys: drop the oldest")]
    Full,
    /// The ring has a key of this id: in all likelihood the same key.
    #[error("key {id} is in the ring already: name each key once")]
    Duplicate {
        /// The id that both keys have.
        id: KeyId,
    },
}

/// Bytes could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is more to seal than the codec's limit allows; it could not be opened again.
    #[error("{len} bytes are too many to seal: sealed they would exceed {max} characters of text")]
    TooLong {
        /// How many bytes were to be sealed.
        len: usize,
        /// The longest text that the codec makes and opens.
        max: usize,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system's random source gave no bytes to seal with")]
    Entropy,
}

/// A sealed text could not be opened.
///
/// All failures look the same, in [`Display`](std::fmt::Display) as in what a client may be told:
/// whoever is shown more can learn to forge. The [`reason`](Self::reason) is for events and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed text could not be opened")]
pub struct OpenError(OpenReason);

impl OpenError {
    pub(super) const fn new(reason: OpenReason) -> Self {
        Self(reason)
    }

    /// Why, for those who watch over the service. Not for the client.
    pub const fn reason(self) -> OpenReason {
        self.0
    }
}

/// Why a sealed text could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenReason {
    /// Shorter than any sealed text.
    TooShort,
    /// Longer than the codec opens.
    TooLong,
    /// Not base64url in its one proper form.
    Encoding,
    /// Of a version that this crate does not know.
    UnknownVersion,
    /// Sealed with a key that the ring does not hold, or no longer.
    UnknownKey,
    /// Changed, forged, or sealed for another purpose or name.
    Forged,
}

impl OpenReason {
    /// The reason as one word in lower case, as a label for metrics.
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
