//! Migration of sessions from one store to another while the service runs.

mod error;
mod from_cookies;
mod marker;
mod pair;
mod scan;
mod tags;
mod versions;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use self::{
    error::{MigratingError, MigratingResult},
    from_cookies::BoundMigratingStore,
    pair::StorePair,
};
use super::{
    BoundStore, Capabilities, ClientSideStore, CookieContext, ReadOutcome, ScanCursor, ScanPage,
    ScanStore, Store, StoreError, StoreFuture, StoreStat, Tag, TagStore, WriteOutcome,
    WriteRequest,
};
use crate::id::StoreKey;

/// A store that migrates sessions from an old store to a new one as they are used. No visitor is
/// logged out.
///
/// A clone is the same store.
///
/// # How sessions migrate
///
/// 1. A read looks in the new store first, and then in the old one.
/// 2. A new session is created in the new store.
/// 3. A session in the old store migrates, with its tags, when it is written, or renewed (by a touch, or
///    a read that sets its expiry).
/// 4. A write that [keeps the expiry](super::Expiry::Keep) is made in the store in which the session is.
///    The remaining time of a session in the old store is unknown, so it does not migrate then. If the old
///    store keeps its sessions in cookies, the cookie has the remaining time, and the session migrates.
/// 5. Destroying a session destroys it in both stores.
///
/// After the longest lifetime of a session, all sessions of the old store have migrated or expired. You
/// can then use the new store alone.
///
/// The store keeps the [contract](Store) as far as both stores keep it. No write is lost, and a
/// migration that stops half way is finished by the next request of the session. There is one
/// difference. A renewal that migrates a session changes its version. A concurrent request that read
/// the session before then gets a conflict, and repeats its changes on the same data.
///
/// Sessions are not [counted](Store::count).
///
/// # Several machines
///
/// A machine that knows only the old store cannot find a session that has migrated. So deploy the
/// change in steps, each a rolling restart of all machines:
///
/// 1. [`prepare`](Self::prepare): machines find migrated sessions, but migrate none.
/// 2. [`new`](Self::new): machines migrate sessions.
/// 3. The new store alone, after the longest lifetime of a session.
///
/// Without step 1, no write is lost either, but a machine that knows only the old store:
///
/// - treats a migrated session as ended, or answers 503 during the first minute after the migration;
/// - may have its logout undone, if another machine migrates the session at the same moment.
///
/// # Migrating from cookies
///
/// The old store may be a [`CookieStore`](super::CookieStore). The new one may not: a session at the
/// server cannot migrate into a cookie. The migrating store then works only within
/// [`Sessions`](crate::Sessions), and differs as follows:
///
/// - A session that the new store knows, live or destroyed, is not looked up in cookies.
/// - A session leaves its cookie by a write that expects no record in the new store. Of several
///   requests with the same cookie, one migrates the session. The others repeat their changes on its
///   result. The cookie is removed.
/// - While [`prepare`](Self::prepare) leaves a session in its cookie, the last response wins, as in
///   any cookie store. A session that has migrated is at the server for every machine.
/// - Without a request, only migrated sessions are found, also by
///   [`SessionCollection`](crate::session::SessionCollection).
/// - With a [revocation list](super::CookieStore::with_revocation), `destroy` and `destroy_tagged` end
///   sessions in cookies as well as at the server. A cookie is revoked when its session migrates.
/// - Without a list, `destroy` and `destroy_tagged` fail if a session may remain in a cookie.
///   `destroy_tagged` still destroys the sessions at the server.
/// - Without a list, a copy of both cookies from before the migration can restore the session after it
///   was destroyed or its id was regenerated. This works from the time when the new store's tombstone
///   expires (60 s by default) until the copy expires. The same is true of every session in a cookie.
///
/// - A write that keeps the expiry migrates the session too, because its cookie contains the expiry.
///
/// A session with tags migrates with two writes, another one with one. If there is a list, a read and an
/// entry of it are added.
///
/// # Cost
///
/// | operation | cost |
/// | --- | --- |
/// | session in the new store | as in the new store alone; a write adds a lookup in the old store |
/// | session in the old store, until it migrates | two lookups |
/// | no session | three lookups |
/// | new session | two writes |
/// | migration of a session | three writes instead of one |
///
/// # Limits
///
/// - A store at the server must support conditional writes. Its versions must be below 2⁶³ (see
///   [`Version`](super::Version)), otherwise operations fail.
/// - The old store holds a record of 17 bytes for one minute after a session migrates or begins. While
///   a session migrates, its record there is 25 bytes larger.
/// - Tags work only if both stores have them.
///
/// # Example
///
/// ```no_run
/// # #[cfg(all(feature = "file", feature = "redis", unix))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_session::{SessionConfig, Sessions};
/// use hyper_session::store::{FileStore, MigratingStore, RedisStore};
///
/// let file = FileStore::open("/var/lib/shop/sessions")?;
/// let redis = RedisStore::builder("redis://127.0.0.1/").build()?;
/// let store = MigratingStore::new(file, redis);
/// let sessions = Sessions::new(SessionConfig::default().with_env()?, store)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a store does nothing until it is passed to `Sessions`"]
pub struct MigratingStore(Arc<StorePair>);

impl MigratingStore {
    /// Returns a store that migrates sessions from the store `from` to the store `to`.
    pub fn new(from: impl Store, to: impl Store) -> Self {
        Self::with_mode(from, to, true)
    }

    /// Returns a store that leaves sessions in the store `from`, and finds those in `to` that other
    /// machines have migrated.
    ///
    /// Use it while some machines know only the store `from`.
    pub fn prepare(from: impl Store, to: impl Store) -> Self {
        Self::with_mode(from, to, false)
    }

    fn with_mode(from: impl Store, to: impl Store, migrates: bool) -> Self {
        let (old, new) = (Arc::new(from), Arc::new(to));
        Self(Arc::new(StorePair { old, new, migrates }))
    }

    fn run<T, F>(&self, operation: impl FnOnce(Arc<StorePair>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = MigratingResult<T>> + Send + 'static,
    {
        StoreFuture::new(operation(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for MigratingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigratingStore")
            .field("migrates", &self.0.migrates)
            .finish_non_exhaustive()
    }
}

impl Store for MigratingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.run(|pair| async move { pair.read(&key, touch).await })
    }

    /// Writes the session in its store. A session of the old store migrates with the write, unless the
    /// store is only prepared.
    ///
    /// # Errors
    /// If one of the stores fails. It is then unknown whether the write was applied.
    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.run(|pair| async move { pair.write(request).await })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run(|pair| async move { pair.destroy(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run(|pair| async move { pair.touch(&key, ttl).await })
    }

    fn name(&self) -> &'static str {
        "migrating"
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        self.0.old.report_stats(report);
        self.0.new.report_stats(report);
    }

    /// Returns the capabilities that both stores have.
    fn capabilities(&self) -> Capabilities {
        let (old, new) = (self.0.old.capabilities(), self.0.new.capabilities());
        Capabilities {
            conditional_writes: old.conditional_writes && new.conditional_writes,
            tombstones: old.tombstones && new.tombstones,
            tombstone_ttl: old.tombstone_ttl.min(new.tombstone_ttl),
            persistent: old.persistent && new.persistent,
            shared: old.shared && new.shared,
            list_by_tag: old.list_by_tag && new.list_by_tag,
            operation_timeout: old.operation_timeout.max(new.operation_timeout),
            evicts: old.evicts || new.evicts,
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.0.tags().ok().map(|_| self as &dyn TagStore)
    }

    /// Returns the scan extension if both stores have it.
    fn scan(&self) -> Option<&dyn ScanStore> {
        self.0.scans().ok().map(|_| self as &dyn ScanStore)
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        let key = *key;
        self.run(|pair| async move { pair.time_to_live(&key).await })
    }

    /// Returns `true` if both stores are available.
    fn is_available(&self, key: &StoreKey) -> bool {
        self.0.old.is_available(key) && self.0.new.is_available(key)
    }

    /// Waits for the old store, then for the new one.
    fn ready(&self) -> StoreFuture<()> {
        self.run(|pair| async move {
            pair.old.ready().await?;
            pair.new.ready().await
        })
    }

    fn flush(&self) -> StoreFuture<()> {
        self.run(|pair| async move {
            pair.old.flush().await?;
            pair.new.flush().await
        })
    }

    /// Closes both stores, also if one fails.
    fn close(&self) -> StoreFuture<()> {
        self.run(|pair| async move {
            let old = pair.old.close().await;
            pair.new.close().await.and(old)
        })
    }

    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        let stores = [&self.0.old, &self.0.new];
        let has_client_side = stores.iter().any(|store| store.client_side().is_some());
        has_client_side.then_some(self as &dyn ClientSideStore)
    }
}

/// A migration from cookies.
impl ClientSideStore for MigratingStore {
    /// Binds the old store, which keeps sessions in cookies.
    ///
    /// # Errors
    /// If the new store keeps sessions in cookies.
    fn bind(&self, context: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError> {
        let StorePair { old, new, migrates } = &*self.0;
        match (old.client_side(), new.client_side()) {
            (Some(old), None) => {
                let (old, new) = (old.bind(context)?, Arc::clone(new));
                Ok(Box::new(BoundMigratingStore::new(old, new, *migrates)))
            }
            _ => Err(MigratingError::IntoCookies.into()),
        }
    }
}

impl TagStore for MigratingStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.run(|pair| async move { pair.tagged(&tag).await })
    }
}

impl ScanStore for MigratingStore {
    /// Returns a page of the old store, and of the new store after the last one of the old store.
    fn scan_page(&self, from: Option<&ScanCursor>) -> StoreFuture<ScanPage> {
        let from = from.cloned();
        self.run(|pair| async move { pair.scan_page(from).await })
    }
}
