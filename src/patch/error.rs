//! Errors of changes.

use crate::document::{EditError, MalformedDocument};

/// The error of a change. The document and the patch are unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The edit itself failed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The request makes too many changes.
    #[error(
        "too many changes to the session in one request, limit is {limit}; merge several values at \
         once, or raise `limits.operations`"
    )]
    TooManyOperations {
        /// The limit on operations.
        limit: usize,
    },
    /// The paths and values of the request's changes are too large in total.
    #[error(
        "the request's changes to the session are {size} bytes, limit is {limit}; store less, or \
         raise `limits.bytes`"
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
