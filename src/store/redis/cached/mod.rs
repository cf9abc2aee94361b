//! A local cache in front of the Redis store.

mod local;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::local::{ChangeLimits, Local};
use super::{RedisStore, RedisStoreBuilder, client::Hear};
use crate::{
    id::StoreKey,
    store::{
        Capabilities, Expected, ReadOutcome, Store, StoreError, StoreFuture, TagStore, WriteOutcome,
    },
};

/// A store with local copies of what is read often: a hot read costs no round trip.
///
/// Redis itself says when a copy is out of date (server-assisted client-side caching, `CLIENT
/// TRACKING`).
///
/// Not for clusters, where it is refused when it is built: each node tells only of its own keys and
/// over its own connection, and the client underneath makes and drops those by itself. What is read
/// over a new one before that one has been asked for messages would not be told of.
///
/// # How stale a read can be
///
/// - What this process has written or destroyed, it never reads in an older state.
/// - What another process has changed, this one may read in its old state until the server's message
///   is here: as a rule, for a fraction of a millisecond. A logout elsewhere is thus over within one
///   message.
/// - Where a connection is lost, all copies are dropped as soon as the loss is noticed: at once where
///   it was closed, after one second and the command timeout where the network is silent.
/// - In any case no copy is used for longer than [`max_age`](CachedRedisStoreBuilder::max_age), nor beyond
///   its record's lifetime.
///
/// Writes do not trust a copy: the version is compared by Redis, and one that was read from an old
/// copy is answered with a conflict and the newer record. Reads that touch go to Redis.
#[derive(Clone)]
pub struct CachedRedisStore<S> {
    inner: S,
    local: Arc<Local>,
}

/// The size and age of local copies, on top of a [`RedisStoreBuilder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CachedRedisStoreBuilder {
    store: RedisStoreBuilder,
    limits: ChangeLimits,
}

impl CachedRedisStoreBuilder {
    pub(super) fn new(store: RedisStoreBuilder) -> Self {
        let limits = ChangeLimits {
            entries: 10_000,
            bytes: 64 << 20,
            age: Duration::from_secs(10),
        };
        Self { store, limits }
    }

    /// How many records may have copies. Default: 10,000.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.limits.entries = entries;
        self
    }

    /// How many bytes of data the copies may have together. A record larger than a 32nd of it is
    /// not copied. Default: 64 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How long a copy is used at most, whatever the server says or fails to say; a server that is
    /// emptied as a whole (`FLUSHALL`) says nothing. Default: 10 s.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.age = age;
        self
    }

    /// The store, not connected yet; as [`RedisStoreBuilder::build`].
    ///
    /// # Errors
    /// As there, and when the URL is that of a cluster.
    pub fn build(self) -> Result<CachedRedisStore<RedisStore>, StoreError> {
        let mut made = None;
        let inner = self.store.build_heard(|names| {
            let local = Arc::new(Local::new(names.clone(), self.limits));
            made = Some(Arc::clone(&local));
            Some(local as Arc<dyn Hear>)
        })?;
        let local =
            made.unwrap_or_else(|| Arc::new(Local::new(inner.0.names.clone(), self.limits)));
        Ok(CachedRedisStore { inner, local })
    }

    /// The store, once the server has answered; as [`RedisStoreBuilder::connect`].
    ///
    /// # Errors
    /// As there, and when the URL is that of a cluster.
    pub async fn connect(self) -> Result<CachedRedisStore<RedisStore>, StoreError> {
        let store = self.build()?;
        store.inner.ready().await?;
        Ok(store)
    }
}

/// The size of the local copies, and their use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Records with a copy now.
    pub entries: usize,
    /// Bytes of their data.
    pub bytes: usize,
    /// Reads that were answered from a copy.
    pub hits: u64,
}

impl CachedRedisStore<RedisStore> {
    /// The store behind the copies.
    pub const fn store(&self) -> &RedisStore {
        &self.inner
    }

    /// The size of the local copies, and their use.
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats {
            entries: self.local.entries(),
            bytes: self.local.bytes(),
            hits: self.local.hits(),
        }
    }

    /// Reads from Redis, and keeps a copy where changes to it will be told.
    fn read_and_keep(&self, key: &StoreKey) -> StoreFuture<ReadOutcome> {
        let (key, local) = (*key, Arc::clone(&self.local));
        self.inner.doing("read", move |engine| async move {
            // In this order: a loss that is noticed after the look at `is_tracked` takes the place
            // away, and one that was noticed before is seen by it.
            let Some(taken) = local.take(&key).filter(|_| engine.client.is_tracked()) else {
                return engine.read(&key).await;
            };
            let asked = Instant::now();
            let (read, life) = engine.read_for_keeping(&key).await?;
            if let ReadOutcome::Found(record) = &read {
                taken.fill(record, asked, life);
            }
            Ok(read)
        })
    }

    /// The same answer, after which no copy is older than it.
    fn forgetting<T: Unpin + Send + 'static>(
        &self,
        key: &StoreKey,
        work: StoreFuture<T>,
    ) -> StoreFuture<T> {
        let (key, local) = (*key, Arc::clone(&self.local));
        local.forget(&key);
        StoreFuture::new(async move {
            let done = work.await;
            local.forget(&key);
            done
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for CachedRedisStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CachedRedisStore")
            .field(&self.inner)
            .finish()
    }
}

impl Store for CachedRedisStore<RedisStore> {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        match touch {
            Some(_) => self.forgetting(key, self.inner.read(key, touch)),
            None => match self.local.get(key) {
                Some(record) => StoreFuture::ready(Ok(ReadOutcome::Found(record))),
                None => self.read_and_keep(key),
            },
        }
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        self.forgetting(key, self.inner.write(key, data, ttl, expected))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.forgetting(key, self.inner.destroy(key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.forgetting(key, self.inner.touch(key, ttl))
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

    fn ready(&self) -> StoreFuture<()> {
        self.inner.ready()
    }
}
