//! One value of a document, as JSON text.

use std::fmt;

use serde::Deserialize;

use super::{MalformedDocument, Number, ReadError, ValueKind, serde_impl::from_json};

/// The JSON text of one value, borrowed from its document.
///
/// The text is parsed only when [`deserialize`](Self::deserialize) or [`number`](Self::number) is
/// called. [`Debug`](fmt::Debug) shows the value's kind and length only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawValue<'a>(&'a [u8]);

impl<'a> RawValue<'a> {
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// Returns the value's compact JSON text as bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the value's compact JSON text.
    ///
    /// # Errors
    /// If the stored bytes are damaged and are not UTF-8.
    pub fn as_json(self) -> Result<&'a str, MalformedDocument> {
        std::str::from_utf8(self.0).map_err(|_| MalformedDocument::DAMAGED)
    }

    /// Returns the kind of the value, judged by its first byte.
    pub fn kind(self) -> ValueKind {
        ValueKind::from_text(self.0)
    }

    /// Returns `true` if the value is `null`.
    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// Returns the number with all its digits, or `None` for any other kind of value.
    pub fn number(self) -> Option<Number> {
        Number::parse(self.0)
    }

    /// Deserializes the value as `T`. `T` may borrow from the text, for example as a `&str` if the
    /// string has no escapes.
    ///
    /// Integers are exact, including 128-bit integers if `T` requests them. The text may nest at
    /// most 127 levels; a document allows fewer.
    ///
    /// # Errors
    /// If the value is not a `T`, or is damaged.
    #[doc(alias = "from_str")]
    pub fn deserialize<T: Deserialize<'a>>(self) -> Result<T, ReadError> {
        from_json(self.0)
    }
}

impl fmt::Debug for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawValue({:?}, {} bytes)", self.kind(), self.0.len())
    }
}
