//! What can go wrong with a document, by whose fault it is.

use super::{KeyPath, raw_value::ValueKind};

/// The text or index of a document is not what this crate writes.
///
/// Either the stored bytes were damaged, or text from outside is not a JSON object within the limits.
/// It names the reason, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session data cannot be read: {reason}")]
pub struct MalformedDocument {
    reason: &'static str,
}

impl MalformedDocument {
    pub(super) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }

    /// The text does not hold together where a walk came by.
    pub(super) const DAMAGED: Self = Self::new("its text or index is damaged");
}

/// An edit that was not done; the document is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The document itself is damaged.
    #[error(transparent)]
    Malformed(#[from] MalformedDocument),
    /// A path of no keys names nothing.
    #[error("a path needs at least one key")]
    EmptyPath,
    /// Only a number, null or nothing can be counted up or down.
    #[error("cannot add to \"{path}\": the value there is not a number")]
    NotANumber {
        /// The path of the value.
        path: Box<str>,
    },
    /// The sum does not fit: integers reach from `i128::MIN` to `u128::MAX`, floats are finite.
    #[error("cannot add to \"{path}\": the result is out of range")]
    Overflow {
        /// The path of the number.
        path: Box<str>,
    },
    /// An array has elements, not named members.
    #[error("cannot write \"{path}\": an array on the way takes only an index")]
    NotAnIndex {
        /// The path that was to be written.
        path: Box<str>,
    },
    /// Writing there would fill too many elements with null.
    #[error("cannot write \"{path}\": index {index} is past the end by more than {max}")]
    IndexTooLarge {
        /// The path that was to be written.
        path: Box<str>,
        /// The index.
        index: u64,
        /// How far past the end an index may be ([`MAX_GAP`](super::MAX_GAP)).
        max: usize,
    },
    /// The document would nest too deep.
    #[error("cannot write \"{path}\": it would nest deeper than {max} levels")]
    TooDeep {
        /// The path that was to be written.
        path: Box<str>,
        /// The most levels ([`MAX_DEPTH`](super::MAX_DEPTH)).
        max: usize,
    },
    /// The document would become too large.
    #[error("cannot write \"{path}\": the data would be {size} bytes, and {limit} are allowed")]
    TooLarge {
        /// The path that was to be written.
        path: Box<str>,
        /// The size it would have, in bytes of text.
        size: usize,
        /// The limit, in bytes of text.
        limit: usize,
    },
    /// Only an object can be merged into a document.
    #[error("cannot merge: the values are not an object")]
    NotAnObject,
    /// The value's `Serialize` failed.
    #[error("cannot write \"{path}\": {source}")]
    Unserializable {
        /// The path that was to be written.
        path: Box<str>,
        /// Why.
        source: SerializeError,
    },
}

impl EditError {
    pub(crate) fn unserializable(path: &KeyPath<'_>, source: SerializeError) -> Self {
        let path = name(path);
        Self::Unserializable { path, source }
    }
}

/// A value whose `Serialize` failed, or has no JSON form (such as a map whose keys are no strings).
///
/// The serializer's own message is left out, since it may quote the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value has no JSON form: its serializer failed")]
pub struct SerializeError(());

impl SerializeError {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// A value that does not read as the type asked for.
///
/// It names the types and the place, never the value; the deserializer's own message is left out,
/// since it would quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is {found} and does not read as {expected} (at byte {at})")]
pub struct ReadError {
    pub(super) found: ValueKind,
    pub(super) expected: &'static str,
    pub(super) at: usize,
}

impl ReadError {
    /// The kind of value that stands there.
    pub const fn actual(&self) -> ValueKind {
        self.found
    }

    /// The name of the type that was asked for.
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

/// The name of a path in an error, cut where it is long.
pub(super) fn name(path: &KeyPath<'_>) -> Box<str> {
    const LONGEST: usize = 120;
    let mut name = path.to_string();
    if let Some((cut, _)) = name.char_indices().nth(LONGEST) {
        name.truncate(cut);
        name.push('…');
    }
    name.into_boxed_str()
}
