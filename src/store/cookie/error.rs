//! Errors of the cookie store.

use super::{MAX_CHUNKS, STORE_NAME};
use crate::store::{StoreError, StoreFuture};

/// The reason why a cookie store rejects an operation, as the source of a [`StoreError`].
///
/// A `StoreError` of a cookie store may have other sources:
/// [`TooLarge`](crate::store::TooLarge), or an error of the overflow store or the revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieStoreError {
    /// The store was used directly. It gets its keys and cookie names when it is passed to
    /// [`Sessions`](crate::Sessions).
    #[error("cookie store has no keys; pass it to `Sessions` first")]
    Unbound,
    /// The operation was called outside a request, so there is no cookie to read or to set.
    #[error(
        "session data is in the visitor's cookie and is only available during that visitor's \
         request"
    )]
    OutsideRequest,
    /// A session cannot be destroyed without its visitor's request, because the store has no
    /// revocation list.
    #[error(
        "a session in a cookie cannot be destroyed outside its visitor's request; add a \
         revocation list with `CookieStore::with_revocation`"
    )]
    NoRevocationList,
    /// Sessions in cookies cannot be listed, because the server does not know them.
    #[error("sessions in cookies cannot be listed; keep them in a store at the server")]
    ListingUnsupported,
    /// [`max_chunks`](super::CookieStore::max_chunks) is out of range.
    #[error("max_chunks is {0}; choose a number from 1 to {MAX_CHUNKS}")]
    InvalidMaxChunks(usize),
    /// The store of the [revocation list](super::CookieStore::with_revocation) evicts records when it is full, which
    /// would undo sign-outs.
    #[error(
        "store {0:?} of the revocation list evicts records when it is full, which would undo sign-outs; use a \
         store that does not, such as a memory store with `refuse_when_full(true)`"
    )]
    EvictingRevocationList(&'static str),
}

impl CookieStoreError {
    pub(super) fn into_store_error(self, operation: &'static str) -> StoreError {
        StoreError::new(STORE_NAME, operation, self)
    }

    /// Returns a future that fails with this error.
    pub(super) fn into_future<T>(self, operation: &'static str) -> StoreFuture<T> {
        StoreFuture::ready(Err(self.into_store_error(operation)))
    }
}
