//! A near cache in front of the Redis store: copies of records in this process.

mod entries;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use self::entries::{CacheLimits, FillGuard, NearCache};
use super::{
    NAME, RedisStore, RedisStoreBuilder, client::InvalidationListener, settings::MAX_TIME,
};
use crate::{
    id::StoreKey,
    store::{
        Capabilities, ReadOutcome, ScanStore, Store, StoreError, StoreFuture, StoreStat, TagStore,
        WriteOutcome, WriteRequest,
    },
};

/// A Redis store with a near cache: copies, in this process, of records that are read often. A cached
/// read needs no round trip.
///
/// Redis reports when a copy is out of date (server-assisted client-side caching, `CLIENT TRACKING`).
///
/// In a cluster, each node reports the changes of its own keys. If a connection is lost, or slots move to
/// another node, the copies from that connection or node are dropped.
///
/// # How stale a read can be
///
/// - A read never returns an older state than this process has written or destroyed.
/// - After another process has changed a record, a read may return the old state until the server's
///   message arrives, usually within a fraction of a millisecond. A logout elsewhere takes effect
///   within one message.
/// - If a connection is lost, the copies of the values that were read over it are dropped once the loss is
///   detected: at once if it was closed, after one second and the command timeout if the network is silent.
/// - If a cluster replaces a master, and only this process still reaches the old one, its copies are dropped
///   once this process knows of the new one. It asks for the nodes every ten seconds, and when a command is
///   redirected or not answered.
/// - No copy is used for longer than [`max_age`](CachedRedisStoreBuilder::max_age), nor after its
///   record has expired.
///
/// Writes do not depend on a copy, because Redis compares the version. A write that is based on an old copy gets a
/// conflict and the newer record. Reads that touch are sent to Redis.
#[doc(alias = "CachingSessionStore")]
#[derive(Clone)]
pub struct CachedRedisStore {
    inner: RedisStore,
    cache: Arc<NearCache>,
}

/// A [`RedisStoreBuilder`] with the limits of the near cache.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CachedRedisStoreBuilder {
    store: RedisStoreBuilder,
    limits: CacheLimits,
}

impl RedisStoreBuilder {
    /// Adds a near cache in front of the store; see [`CachedRedisStore`].
    ///
    /// If the user may not run `CLIENT TRACKING`, nothing is cached. The store tries it again when it opens the
    /// connection again.
    pub fn with_near_cache(self) -> CachedRedisStoreBuilder {
        let limits = CacheLimits {
            entries: 10_000,
            bytes: 64 << 20,
            max_age: Duration::from_secs(10),
        };
        CachedRedisStoreBuilder {
            store: self,
            limits,
        }
    }
}

impl CachedRedisStoreBuilder {
    /// Sets the maximum number of cached records. Default: 10,000.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.limits.entries = entries;
        self
    }

    /// Sets the maximum size of data and tags of all copies in bytes. Default: 64 MiB.
    ///
    /// A record larger than a 32nd of it is not copied.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets the maximum age of a copy. Default: 10 s.
    ///
    /// It applies even if the server reports no change. For example, a server that is emptied as a
    /// whole (`FLUSHALL`) reports nothing.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.max_age = age.min(MAX_TIME);
        self
    }

    /// Builds the store without connecting, as [`RedisStoreBuilder::build`] does.
    ///
    /// # Errors
    /// As for [`RedisStoreBuilder::build`].
    pub fn build(self) -> Result<CachedRedisStore, StoreError> {
        let mut created = None;
        let inner = self.store.build_with_listener(|names| {
            let cache = Arc::new(NearCache::new(names.clone(), self.limits));
            created = Some(Arc::clone(&cache));
            Some(cache as Arc<dyn InvalidationListener>)
        })?;
        let cache =
            created.unwrap_or_else(|| Arc::new(NearCache::new(inner.0.names.clone(), self.limits)));
        Ok(CachedRedisStore { inner, cache })
    }

    /// Builds the store and waits until the server has answered, as [`RedisStoreBuilder::connect`]
    /// does.
    ///
    /// # Errors
    /// As for [`RedisStoreBuilder::connect`].
    pub async fn connect(self) -> Result<CachedRedisStore, StoreError> {
        let store = self.build()?;
        store.inner.ready().await?;
        Ok(store)
    }
}

/// The size and use of the near cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Records with a copy now.
    pub entries: usize,
    /// Size of their data and tags in bytes.
    pub bytes: usize,
    /// Reads that a copy answered.
    pub hits: u64,
}

impl CachedRedisStore {
    /// Returns the store behind the near cache.
    ///
    /// Its writes remove no copies. Copies of the records that it changes are used until the server's message
    /// arrives.
    pub const fn store(&self) -> &RedisStore {
        &self.inner
    }

    /// Returns the size and use of the near cache.
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats {
            entries: self.cache.entries(),
            bytes: self.cache.bytes(),
            hits: self.cache.hits(),
        }
    }

    /// Reads from Redis, and caches the record if the server reports changes to it.
    fn read_and_fill(&self, key: &StoreKey) -> StoreFuture<ReadOutcome> {
        let (key, cache) = (*key, Arc::clone(&self.cache));
        self.inner.run_operation("read", move |runner| async move {
            let name = runner.names.session(&key);
            let is_tracked = |_: &FillGuard<'_>| runner.client.is_tracked(&name);
            // Reserve first. Everything that ends the tracking of the reply's connection, or moves the key
            // to another node, removes the reservation.
            let Some(guard) = cache.reserve(&key).filter(is_tracked) else {
                return runner.read(&key).await;
            };
            let read_at = Instant::now();
            let found = runner.read_for_cache(&key).await?;
            if let (ReadOutcome::Found(record), Some(source)) = (&found.read, found.source) {
                guard.fill(record, source, read_at + found.ttl);
            }
            Ok(found.read)
        })
    }

    /// Removes the copy before and after `work`, so that no copy is older than the result of `work`.
    fn invalidate_around<T: Unpin + Send + 'static>(
        &self,
        key: &StoreKey,
        work: StoreFuture<T>,
    ) -> StoreFuture<T> {
        let (key, cache) = (*key, Arc::clone(&self.cache));
        cache.remove(&key);
        StoreFuture::new(async move {
            let result = work.await;
            cache.remove(&key);
            result
        })
    }
}

impl fmt::Debug for CachedRedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CachedRedisStore")
            .field(&self.inner)
            .field(self.cache.limits())
            .finish()
    }
}

impl Store for CachedRedisStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        match touch {
            Some(_) => self.invalidate_around(key, self.inner.read(key, touch)),
            None => match self.cache.get(key) {
                Some(record) => StoreFuture::ready(Ok(ReadOutcome::Found(record))),
                None => self.read_and_fill(key),
            },
        }
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let key = request.key;
        self.invalidate_around(&key, self.inner.write(request))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.invalidate_around(key, self.inner.destroy(key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.invalidate_around(key, self.inner.touch(key, ttl))
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        self.inner.report_stats(report);
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.inner.tags()
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        self.inner.count()
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        self.inner.scan()
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        self.inner.time_to_live(key)
    }

    fn is_available(&self, key: &StoreKey) -> bool {
        self.inner.is_available(key)
    }

    fn ready(&self) -> StoreFuture<()> {
        self.inner.ready()
    }

    fn flush(&self) -> StoreFuture<()> {
        self.inner.flush()
    }

    fn close(&self) -> StoreFuture<()> {
        self.inner.close()
    }
}
