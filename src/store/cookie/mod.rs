#![doc = include_str!("README.md")]

mod bound;
mod contents;
mod error;
mod memo;
mod pieces;
mod revoked;
mod stamps;
mod tagging;
mod there;
mod visit;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use self::bound::{Service, Shared};
pub use self::error::CookieStoreError;
use super::{
    BoundStore, ClientSideStore, CookieContext, Expected, ReadOutcome, Store, StoreError,
    StoreFuture, WriteOutcome,
};
use crate::{clock::Clock, id::StoreKey};

/// The most cookies that one session may take.
pub const MAX_CHUNKS: usize = 8;

/// How errors call the store.
const NAME: &str = "cookie";

/// What sealed data cookies are for; part of what is authenticated.
const PURPOSE: &str = "hyper-session data";

/// Sessions in their visitors' own cookies, sealed. See the [module](self) for what that means.
///
/// ```
/// use hyper_session::{SessionConfig, Sessions, store::CookieStore};
///
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::new(config, CookieStore::new())?;
/// # Ok::<(), hyper_session::config::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a store is of use in `Sessions`"]
pub struct CookieStore {
    clock: Clock,
    max_chunks: usize,
    overflow: Option<Arc<dyn Store>>,
    revocation: Option<Arc<dyn Store>>,
}

impl CookieStore {
    /// Sessions in one cookie each, with nothing kept at the server.
    pub fn new() -> Self {
        Self {
            clock: Clock::system(),
            max_chunks: 1,
            overflow: None,
            revocation: None,
        }
    }

    /// How many cookies one session may be spread over, 1 to [`MAX_CHUNKS`]; 1 unless set. Each takes
    /// up to 4096 bytes of every request's headers, which servers and proxies limit, often to 8 or
    /// 16 KB in all.
    pub fn max_chunks(mut self, cookies: usize) -> Self {
        self.max_chunks = cookies;
        self
    }

    /// What does not fit into the cookies is kept in `store`; the cookie then says so, and takes the
    /// session back when it fits again. (The record in `store` is left to expire then: another
    /// request, whose answer comes later, may still point to it.)
    pub fn with_overflow(mut self, store: impl Store) -> Self {
        self.overflow = Some(Arc::new(store));
        self
    }

    /// Ended sessions are noted in `store`, and a cookie that comes back after its session was ended
    /// is refused. It must be one that keeps what it is given: an entry that is evicted is a log-out
    /// that is forgotten. Entries go away by themselves when no cookie of that time can be alive.
    ///
    /// Each request that opens its session asks this store once, and once more for each of the
    /// session's tags; so does each write.
    pub fn with_revocation(mut self, store: impl Store) -> Self {
        self.revocation = Some(Arc::new(store));
        self
    }

    /// The clock by which sessions expire.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for CookieStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieStore")
            .field("max_chunks", &self.max_chunks)
            .field("overflow", &self.overflow.is_some())
            .field("revocation", &self.revocation.is_some())
            .finish_non_exhaustive()
    }
}

impl ClientSideStore for CookieStore {
    fn bind(&self, binding: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError> {
        let shared = Shared::new(self, binding)?;
        Ok(Box::new(Service(Arc::new(shared))))
    }
}

/// Without keys it answers nothing: see [`ClientSideStore`].
impl Store for CookieStore {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        CookieStoreError::Unbound.answer("read")
    }

    fn write(&self, _: &StoreKey, _: Bytes, _: Duration, _: Expected) -> StoreFuture<WriteOutcome> {
        CookieStoreError::Unbound.answer("write")
    }

    fn destroy(&self, _: &StoreKey) -> StoreFuture<()> {
        CookieStoreError::Unbound.answer("destroy")
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        CookieStoreError::Unbound.answer("touch")
    }

    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        Some(self)
    }
}
