//! What a cookie store cannot do.

use super::{MAX_CHUNKS, NAME};
use crate::store::{MAX_TAGS, StoreError, StoreFuture};

/// Why a cookie store refused; the source of its [`StoreError`]s, beside those of the stores behind
/// it and [`TooLarge`](crate::store::TooLarge).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieStoreError {
    /// It was used by itself rather than given to [`Sessions`](crate::Sessions), from which it gets
    /// its keys and names.
    #[error("the cookie store has no keys yet: give it to `Sessions`")]
    Unbound,
    /// There is no request, so there is no cookie to read or to set.
    #[error(
        "the session is in its visitor's cookie: it is within reach only in a request of theirs"
    )]
    WithTheVisitor,
    /// The server knows nothing of sessions, so it cannot end one without its request.
    #[error(
        "ending a session needs its visitor's request, or a revocation list: build the store with \
         `CookieStore::with_revocation`"
    )]
    NoRevocation,
    /// Which sessions there are is not known.
    #[error("the sessions are with their visitors, so they cannot be listed")]
    Unlisted,
    /// [`max_chunks`](super::CookieStore::max_chunks) is out of range.
    #[error("max_chunks is {0}: choose a number from 1 to {MAX_CHUNKS}")]
    MaxChunks(usize),
    /// The session carries [`MAX_TAGS`] tags already.
    #[error("the session has {MAX_TAGS} tags already, the most there may be")]
    TooManyTags,
}

impl CookieStoreError {
    pub(super) fn of(self, action: &'static str) -> StoreError {
        StoreError::new(NAME, action, self)
    }

    pub(super) fn answer<T>(self, action: &'static str) -> StoreFuture<T> {
        StoreFuture::ready(Err(self.of(action)))
    }
}
