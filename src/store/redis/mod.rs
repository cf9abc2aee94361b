//! The Redis store: sessions for services on many machines.

mod builder;
mod cached;
mod client;
mod engine;
mod error;
mod keys;
mod operations;
mod outage;
mod record;
mod scripts;
mod tags;
mod versions;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use self::engine::Engine;
pub use self::{
    builder::RedisStoreBuilder,
    cached::{CacheStats, CachedRedisStore, CachedRedisStoreBuilder},
    error::{RedisError, ServerRejection, TransientError},
    outage::Outage,
};
use super::{
    Capabilities, Expected, ReadOutcome, Store, StoreError, StoreFuture, Tag, TagStore,
    WriteOutcome,
};
use crate::id::StoreKey;

/// The name that this store gives itself in errors.
const NAME: &str = "redis";

/// Sessions in Redis (6.2 or later) or Valkey, for any number of processes and machines.
///
/// A clone is the same store. It works inside a tokio runtime with I/O and time, the one of its
/// first operation: once that has ended, every operation ends with an error, within its total timeout.
///
/// # Addresses
///
/// | URL | what |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one server; user, password, port and database may be left out |
/// | `rediss://…` | the same over TLS, trusting the system's authorities or those in the file `SSL_CERT_FILE` |
/// | `redis+unix:///run/redis.sock?db=0` | a Unix socket |
/// | `redis-sentinel://host:26379/0?sentinelServiceName=name&node=host:port` | the master that Sentinel knows by this name; further sentinels as `node`; `sentinelUsername` and `sentinelPassword` for the sentinels themselves |
/// | `redis-cluster://host:6379?node=host:port` | a cluster; further nodes as `node`, the others are discovered |
///
/// `rediss-sentinel` and `rediss-cluster` are those over TLS. The protocol is RESP3.
///
/// # What it costs
///
/// One round trip to read, with the touch in it; one to write, by a script that compares the version
/// and sets; one to destroy.
///
/// Outside a cluster, reads, writes and touches that come at the same time go in one command: reads
/// as `MGET`, writes and touches as one run of their script over up to 64 keys. Each is answered for
/// itself. What is found absent in an `MGET` is asked for once more by itself, since `MGET` says the
/// same of a value of another type. Nobody waits for company: what is ready goes once the runtime has
/// run the tasks that are ready now. Operations take turns on the connections by 64, so that those of
/// a quiet moment go together too. In a cluster each operation is a command of its own; so it is in the
/// end where the server refuses them together (`CROSSSLOT`, or `NOPERM` for `MGET`).
///
/// The user needs `GET`, `MGET`, `SET`, `GETDEL`, `EXISTS`, `EVAL`, `EVALSHA`, what the scripts run
/// (`GETRANGE`, `PSETEX`, `PEXPIRE`, `PTTL`, `DEL`, `TIME`), `WAIT` where replicas are waited for, the sorted
/// sets' commands for tags, and `CLIENT` for a local cache.
///
/// # When the server is away
///
/// - Every operation ends within the total timeout, with an answer or an error. Meanwhile it is
///   repeated where that is safe: see [write](#method.write).
/// - Nothing is queued in the connection while it is down; operations wait by themselves, at most
///   `max_in_flight` of them.
/// - Connections are made anew with exponential backoff and jitter, for ever. Failovers by Sentinel
///   and in a cluster are followed; while a cluster is without one of its masters, all operations
///   on it wait.
/// - [`on_outage`](RedisStoreBuilder::on_outage) tells of an outage once when it starts and once
///   when it ends; of a store that a configuration opens, the listeners hear the same. The client
///   underneath has its own lines in the `log` crate, under the target `fred`: leave it off, or at
///   `error`.
///
/// # What Redis itself may lose
///
/// Replication is asynchronous: what the master acknowledged in the last moment before it died may
/// be missing on the replica that takes over, and so a session that was just destroyed may be there
/// again. [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) narrows this. A server
/// without persistence forgets all when it restarts. An eviction policy such as `allkeys-lru` may
/// evict tombstones and tags' indexes too; `volatile-ttl` takes what expires first.
///
/// # Example
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_session::{id::SessionId, store::{Expected, RedisStore, Store, Written}};
/// use std::time::Duration;
///
/// let store = RedisStore::builder("redis://127.0.0.1/")
///     .prefix("shop:")
///     .on_outage(|outage| eprintln!("session store: {outage:?}"))
///     .connect()
///     .await?;
/// let (key, hour) = (SessionId::generate()?.store_key(), Duration::from_secs(3600));
/// let written = store.write(&key, "data".into(), hour, Expected::Absent).await?;
/// assert!(matches!(written, Written::Done(_)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisStore(Arc<Engine>);

impl RedisStore {
    /// A store at `url`, connected; see [`RedisStoreBuilder::connect`].
    ///
    /// # Errors
    /// When the URL is not valid, or the server does not answer within ten seconds.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A store at `url`, of which something else than the default is wanted.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    /// Destroys every session that carries `tag`, and returns how many. Sessions that are tagged
    /// meanwhile may be missed.
    ///
    /// # Errors
    /// When the store cannot answer; some may have been destroyed then.
    pub fn destroy_tagged(&self, tag: &Tag) -> StoreFuture<u64> {
        let tag = tag.clone();
        self.doing("destroy tagged", |engine| async move {
            engine.destroy_tagged(&tag).await
        })
    }

    /// What this store has met so far.
    pub fn stats(&self) -> RedisStats {
        self.0.stats()
    }

    /// The future of `work` on the engine, whose errors are those of `action`.
    ///
    /// The work's own future is made where it is awaited: it is large, and moving it would cost.
    fn doing<T, F>(
        &self,
        action: &'static str,
        work: impl FnOnce(Arc<Engine>) -> F + Send + 'static,
    ) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, RedisError>> + Send + 'static,
    {
        let engine = Arc::clone(&self.0);
        let tells = engine.settings.tells;
        StoreFuture::new(async move {
            let done = work(engine).await;
            done.map_err(|error| {
                let is_outage = tells && error.is_told();
                let error = StoreError::new(NAME, action, error);
                if is_outage {
                    error.with_outage()
                } else {
                    error
                }
            })
        })
    }
}

/// What a [`RedisStore`] has met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Operations under way now.
    pub in_flight: usize,
    /// Attempts that were repeated.
    pub repeated: u64,
    /// Outages so far, a present one among them.
    pub outages: u64,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.0.settings).finish()
    }
}

impl Store for RedisStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        match touch {
            None => self.doing("read", move |engine| async move { engine.read(&key).await }),
            Some(ttl) => self.doing("read", move |engine| async move {
                engine.read_and_touch(&key, ttl).await
            }),
        }
    }

    /// Writes as the contract says.
    ///
    /// A write whose answer was lost is tried again, and cannot be applied twice: it carries the
    /// number of the version that it makes, and a record that has this version already is the
    /// answer. Where the record has changed since, it cannot be known any more whether the write is
    /// part of it; this is [`RedisError::Unknown`], not a conflict. A write that expects
    /// [`Any`](Expected::Any) is not tried again once its answer was lost.
    ///
    /// # Errors
    /// When the store cannot answer; whether the write was applied is then unknown.
    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let key = *key;
        self.doing("write", move |engine| async move {
            engine.write(&key, &data, ttl, expected).await
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.doing("destroy", move |engine| async move {
            engine.destroy(&key).await
        })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.doing("touch", move |engine| async move {
            engine.touch(&key, ttl).await
        })
    }

    /// The whole contract, for all machines; without the fence when the tombstone time is zero.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tombstones: self.0.settings.tombstone.as_millis() > 0,
            persistent: true,
            shared: true,
            ..Capabilities::default()
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    /// Waits until the server answers, at most the
    /// [startup timeout](RedisStoreBuilder::startup_timeout).
    ///
    /// # Errors
    /// When it does not, or refuses.
    fn ready(&self) -> StoreFuture<()> {
        self.doing("connect", |engine| async move { engine.ready().await })
    }
}

impl TagStore for RedisStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let (key, tag) = (*key, tag.clone());
        self.doing(
            "tag",
            move |engine| async move { engine.tag(&key, &tag).await },
        )
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let (key, tag) = (*key, tag.clone());
        self.doing("untag", move |engine| async move {
            engine.untag(&key, &[tag.as_str()]).await
        })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.doing("list tagged", move |engine| async move {
            engine.tagged(&tag).await
        })
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let key = *key;
        self.doing("list tags", move |engine| async move {
            engine.tags_of(&key).await
        })
    }

    /// Copies the tags that `from` has at this moment: all, or none where they would be too many.
    ///
    /// # Errors
    /// When the store cannot answer, or the session under `to` would have more than
    /// [`MAX_TAGS`](super::MAX_TAGS) tags.
    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing("copy tags", move |engine| async move {
            engine.copy_tags(&from, &to).await.map(drop)
        })
    }

    /// Moves the tags that `from` has at this moment: all, or none where they would be too many.
    ///
    /// # Errors
    /// When the store cannot answer, or the session under `to` would have more than
    /// [`MAX_TAGS`](super::MAX_TAGS) tags.
    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing("move tags", move |engine| async move {
            engine.move_tags(&from, &to).await
        })
    }
}
