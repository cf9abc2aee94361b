//! Errors of documents.

use super::{KeyPath, ValueKind, strict::RefusedValue};

/// The error of reading a document whose text or index this crate cannot have written.
///
/// Either the stored bytes are damaged, or text from outside is not a JSON object within the
/// limits. The message contains the reason and never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session data is unreadable: {reason}")]
pub struct MalformedDocument {
    reason: &'static str,
}

impl MalformedDocument {
    pub(super) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }

    pub(super) const DAMAGED: Self = Self::new("its text or index is damaged");
}

/// A failed edit. The document is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The document itself is damaged.
    #[error(transparent)]
    Malformed(#[from] MalformedDocument),
    /// The path has no keys.
    #[error("path is empty; use at least one key")]
    EmptyPath,
    /// The value to add to is not a number, `null` or absent.
    #[error("cannot add to \"{path}\": its value is not a number; store a number first")]
    NotANumber {
        /// The path of the value.
        path: Box<str>,
    },
    /// The result does not fit. Integers range from `i128::MIN` to `u128::MAX`; floats are finite.
    #[error("cannot add to \"{path}\": the result is out of range; add less")]
    Overflow {
        /// The path of the number.
        path: Box<str>,
    },
    /// The value to change as an array is neither an array, nor `null` or absent.
    #[error(
        "cannot change \"{path}\" as an array: its value is not an array; store an array first"
    )]
    NotAnArray {
        /// The path of the value.
        path: Box<str>,
    },
    /// The value to update is not of the type that the update needs.
    #[error("cannot update \"{path}\": its value has another type; update it as that type")]
    WrongType {
        /// The path of the value.
        path: Box<str>,
        /// The cause.
        source: ReadError,
    },
    /// The path leads through an array with a key that is not an index.
    #[error("cannot write \"{path}\": the path leads into an array; use an index as the key")]
    NotAnIndex {
        /// The path of the write.
        path: Box<str>,
    },
    /// The write would fill too many elements with `null`.
    #[error(
        "cannot write \"{path}\": index {index} is more than {max} elements past the end of its array; \
         append elements in order"
    )]
    IndexTooLarge {
        /// The path of the write.
        path: Box<str>,
        /// The index.
        index: u64,
        /// The limit on elements of `null` between the array's end and the index, which is
        /// [`MAX_GAP`](super::MAX_GAP).
        max: usize,
    },
    /// The document would nest too deeply.
    #[error(
        "cannot write \"{path}\": the data would nest too deeply, limit is {max} levels; store flatter data"
    )]
    TooDeep {
        /// The path of the write.
        path: Box<str>,
        /// The limit on levels, which is [`MAX_DEPTH`](super::MAX_DEPTH).
        max: usize,
    },
    /// The document would become too large.
    #[error(
        "cannot write \"{path}\": the data would be {size} bytes, limit is {limit}; store less, or \
         raise `limits.document`"
    )]
    TooLarge {
        /// The path of the write.
        path: Box<str>,
        /// The size of the document after the write, in bytes of text.
        size: usize,
        /// The limit, in bytes of text.
        limit: usize,
    },
    /// A float is NaN or infinite. JSON has no such number.
    #[error(
        "cannot write \"{path}\": the number is NaN or infinite; write a finite number or null"
    )]
    NotFinite {
        /// The path of the number, including its keys inside the written value.
        path: Box<str>,
    },
    /// The value is a bare `SystemTime`, which serde would write as an object.
    #[error(
        "cannot write \"{path}\": a `SystemTime` is not an ISO 8601 date; wrap it in \
         `document::IsoDate`"
    )]
    SystemTime {
        /// The path of the time, including its keys inside the written value.
        path: Box<str>,
    },
    /// The changed fields, together with the other stored values, are not of the type that the update needs.
    #[error(
        "cannot store the changed fields: with the other stored values they do not fit the type; load the \
         session again, or remove values that the type reads under another name"
    )]
    FieldsDoNotFit {
        /// The cause.
        source: ReadError,
    },
    /// The values to merge, or to replace the session with, are not an object.
    #[error("cannot merge or replace: the values are not an object; pass a map or a struct")]
    NotAnObject,
    /// The value's `Serialize` implementation failed.
    #[error("cannot write \"{path}\": serializing the value failed; use a type with a JSON form")]
    Unserializable {
        /// The path of the write.
        path: Box<str>,
        /// The cause.
        source: SerializeError,
    },
}

impl EditError {
    pub(crate) fn wrong_type(path: &KeyPath<'_>, source: ReadError) -> Self {
        let path = path_for_display(path);
        Self::WrongType { path, source }
    }

    pub(super) fn unserializable(path: &KeyPath<'_>, source: SerializeError) -> Self {
        let path = path_for_display(path);
        Self::Unserializable { path, source }
    }

    /// Creates the error for a value under `keys` in the value to write at `path`.
    pub(super) fn refused(value: RefusedValue, path: &KeyPath<'_>, keys: &[String]) -> Self {
        let path = path_for_display(&path.join(keys));
        match value {
            RefusedValue::NotFinite => Self::NotFinite { path },
            RefusedValue::SystemTime => Self::SystemTime { path },
        }
    }
}

/// The error of serializing a value as JSON. Its `Serialize` implementation failed, or it has no JSON
/// form, like a map whose keys are not strings.
///
/// The serializer's own message is left out, because it may quote the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value has no JSON form: its serializer failed; use string keys")]
pub struct SerializeError(());

impl SerializeError {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// The error of deserializing a value as the requested type.
///
/// The message names the types and the position, never the value. The deserializer's own message
/// is left out, because it would quote the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read value: found {actual} at byte {at}, not {expected}; request a type that fits")]
pub struct ReadError {
    pub(super) actual: ValueKind,
    pub(super) expected: &'static str,
    pub(super) at: usize,
}

impl ReadError {
    /// Returns the kind of the stored value.
    pub const fn actual(&self) -> ValueKind {
        self.actual
    }

    /// Returns the name of the requested type.
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

/// Returns a path as text for an error. A long path is cut.
pub(crate) fn path_for_display(path: &KeyPath<'_>) -> Box<str> {
    const MAX_CHARS: usize = 120;
    name_for_display(&path.to_string(), MAX_CHARS)
}

/// Returns a name as text for an error: one line, and cut after `max_chars` characters. A client may have
/// chosen the name.
pub(crate) fn name_for_display(name: &str, max_chars: usize) -> Box<str> {
    let mut text = String::new();
    let mut chars = name.chars();
    for c in chars.by_ref().take(max_chars) {
        match c {
            '"' | '\'' | '\\' => text.push(c),
            c => text.extend(c.escape_debug()),
        }
    }
    if chars.next().is_some() {
        text.push('…');
    }
    text.into_boxed_str()
}
