//! Why a change was refused.

use crate::document::{EditError, MalformedDocument};

/// A change that was not made: document and patch are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The edit itself is not possible.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The request did too much.
    #[error(
        "a request may change its session {limit} times at most: \
         merge several values at once, or raise the limit on operations"
    )]
    TooManyOperations {
        /// The limit on operations.
        limit: usize,
    },
    /// The paths and values of the request's changes are too large together.
    #[error(
        "the changes to the session are {size} bytes, and {limit} are allowed: \
         store less, or raise the limit on bytes"
    )]
    TooManyBytes {
        /// The size with this change, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

impl From<MalformedDocument> for ChangeError {
    fn from(error: MalformedDocument) -> Self {
        Self::Edit(error.into())
    }
}
