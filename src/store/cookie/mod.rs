#![doc = include_str!("README.md")]

mod backing;
mod cache;
mod chunks;
mod error;
mod payload;
mod received;
mod request;
mod revocation;
mod service;
mod shared;

use std::{fmt, sync::Arc, time::Duration};

pub use self::error::CookieStoreError;
use self::{service::BoundCookieStore, shared::Shared};
use super::{
    BoundStore, ClientSideStore, CookieContext, ReadOutcome, Store, StoreError, StoreFuture,
    WriteOutcome, WriteRequest,
};
use crate::{clock::Clock, id::StoreKey};

/// Maximum number of cookies for one session.
pub const MAX_CHUNKS: usize = 8;

/// The store's name in errors.
const STORE_NAME: &str = "cookie";

/// Purpose of data cookies, authenticated by the seal. No other sealed text of the crate opens as one.
const SEAL_PURPOSE: &str = "hyper-session data";

/// A store that keeps each session, sealed, in its visitor's own cookies.
///
/// The [module](self) describes its guarantees and limits.
///
/// A clone shares the overflow store and the revocation list.
///
/// # Example
///
/// ```
/// use hyper_session::{SessionConfig, Sessions, store::CookieStore};
///
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::new(config, CookieStore::new())?;
/// # Ok::<(), hyper_session::config::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a store does nothing until it is passed to `Sessions`"]
#[doc(alias = "CookieSessionStore")]
#[doc(alias = "cookie-session")]
pub struct CookieStore {
    clock: Clock,
    max_chunks: usize,
    overflow: Option<Arc<dyn Store>>,
    revocation: Option<Arc<dyn Store>>,
}

impl CookieStore {
    /// Creates a store that uses one cookie per session and keeps nothing at the server.
    pub fn new() -> Self {
        Self {
            clock: Clock::system(),
            max_chunks: 1,
            overflow: None,
            revocation: None,
        }
    }

    /// Sets the maximum number of cookies per session, from 1 to [`MAX_CHUNKS`]. The default is 1.
    ///
    /// Each cookie adds up to 4096 bytes to the headers of every request. Servers and proxies limit
    /// the size of all headers together, often to 8 or 16 KB.
    ///
    /// Building `Sessions` fails if the number is out of range.
    pub fn max_chunks(mut self, cookies: usize) -> Self {
        self.max_chunks = cookies;
        self
    }

    /// Keeps sessions that do not fit into their cookies in `store`.
    ///
    /// The cookie then refers to the record in `store`. When the session fits again, it returns to
    /// its cookie. Its record in `store` is left to expire, because a concurrent request, whose
    /// response arrives later, may still refer to it.
    pub fn with_overflow(mut self, store: impl Store) -> Self {
        self.overflow = Some(Arc::new(store));
        self
    }

    /// Records destroyed sessions in `store`, so that their cookies are rejected from then on.
    ///
    /// The store must not lose entries. A lost entry undoes a logout. Entries expire when no
    /// cookie from before the logout can be valid any more.
    ///
    /// - Building `Sessions` fails if the store's [capabilities](super::Capabilities#structfield.evicts) report that it
    ///   evicts. For a list in memory, set [`refuse_when_full`](super::memory::MemoryStoreBuilder::refuse_when_full).
    /// - While the list is full, a logout and a new id fail with a 503 and are not acknowledged.
    /// - Clients decide how many entries the list has, and with [`with_overflow`](Self::with_overflow) how many
    ///   sessions that store has. Use two stores if either is in memory, so that sessions do not fill the list.
    /// - A list in memory ends with the process. Use a file or Redis if a logout must outlive a restart.
    ///
    /// A request that loads its session reads this store once, and once more for each tag of the
    /// session. So does each write. A write under a new id reads once more.
    pub fn with_revocation(mut self, store: impl Store) -> Self {
        self.revocation = Some(Arc::new(store));
        self
    }

    /// Sets the clock that decides when sessions expire.
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
    fn bind(&self, context: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError> {
        let shared = Shared::new(self, context)?;
        Ok(Box::new(BoundCookieStore(Arc::new(shared))))
    }
}

/// Every operation fails with [`CookieStoreError::Unbound`]: only the store that
/// [`bind`](ClientSideStore::bind) returns has keys.
impl Store for CookieStore {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        CookieStoreError::Unbound.into_future("read")
    }

    fn write(&self, _: WriteRequest) -> StoreFuture<WriteOutcome> {
        CookieStoreError::Unbound.into_future("write")
    }

    fn destroy(&self, _: &StoreKey) -> StoreFuture<()> {
        CookieStoreError::Unbound.into_future("destroy")
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        CookieStoreError::Unbound.into_future("touch")
    }

    fn name(&self) -> &'static str {
        STORE_NAME
    }

    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        Some(self)
    }
}
