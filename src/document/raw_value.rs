//! One value of a document, as text.

use std::fmt;

use serde::Deserialize;

use super::{MalformedDocument, Number, ReadError, serde_impl};

/// The JSON text of one value, borrowed from its document.
///
/// It is not parsed until it is asked to become something. [`Debug`](fmt::Debug) shows its kind and
/// length only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawValue<'a>(&'a [u8]);

/// The kinds of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, integer or not.
    Number,
    /// Text.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl<'a> RawValue<'a> {
    /// The value with this text.
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value's compact JSON text.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value's compact JSON text.
    ///
    /// # Errors
    /// When damaged bytes are no text.
    pub fn as_json(self) -> Result<&'a str, MalformedDocument> {
        std::str::from_utf8(self.0).map_err(|_| MalformedDocument::DAMAGED)
    }

    /// What kind of value it is, by its first byte.
    pub fn kind(self) -> ValueKind {
        match self.0.first() {
            Some(b'{') => ValueKind::Object,
            Some(b'[') => ValueKind::Array,
            Some(b'"') => ValueKind::String,
            Some(b't' | b'f') => ValueKind::Bool,
            Some(b'n') => ValueKind::Null,
            _ => ValueKind::Number,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// The number it is, with all its digits; `None` for any other value.
    pub fn number(self) -> Option<Number> {
        Number::parse(self.0)
    }

    /// Reads the value as `T`, which may borrow its text: a `&str` without escapes does.
    ///
    /// Integers come out exact, 128-bit ones too where `T` asks for them. The text may nest at most
    /// 127 levels, which a document never does.
    ///
    /// # Errors
    /// When the value is not a `T`, or damaged.
    pub fn deserialize<T: Deserialize<'a>>(self) -> Result<T, ReadError> {
        serde_impl::from_json(self.0)
    }
}

impl fmt::Debug for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawValue({:?}, {} bytes)", self.kind(), self.0.len())
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}
