//! The Redis store: sessions for services on many machines.

mod application;
mod builder;
mod client;
mod command_runner;
mod error;
mod key_names;
#[cfg(feature = "tracing")]
mod log;
#[cfg(not(feature = "tracing"))]
#[path = "no_log.rs"]
mod log;
mod near_cache;
mod ops;
mod outage;
mod ready;
mod record;
mod scan;
mod scripts;
mod settings;
mod tag_index;
mod tags;
mod version_gen;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use self::command_runner::CommandRunner;
pub(crate) use self::{application::Application, client::SCHEMES};
pub use self::{
    builder::RedisStoreBuilder,
    error::{ConnectProblem, OutageScope, RedisError, ServerRejection, TransientError},
    near_cache::{CacheStats, CachedRedisStore, CachedRedisStoreBuilder},
    outage::Outage,
};
#[cfg(doc)]
use super::Expected;
use super::{
    Capabilities, ReadOutcome, ScanCursor, ScanPage, ScanStore, Store, StoreError, StoreFuture,
    StoreStat, Tag, TagStore, WriteOutcome, WriteRequest,
};
use crate::id::StoreKey;

/// The name of this store in errors.
const NAME: &str = "redis";

/// Bounds of the time after which a client should retry during an outage. Between them it is the time
/// since the outage began, so that the clients of a long outage do not all retry each second.
const MIN_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// A store in Redis (6.2 or later) or Valkey, for any number of processes and machines.
///
/// Clones share one store. The store needs a tokio runtime with I/O and time enabled. It belongs to
/// the runtime of its first operation. Once that runtime has ended, every operation fails within the
/// operation timeout.
///
/// # Addresses
///
/// | URL | server |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one server; user, password, port and database are optional |
/// | `rediss://…` | the same over TLS, trusting the system's certificate authorities or those in the file `SSL_CERT_FILE` |
/// | `redis+unix:///run/redis.sock?db=0` | a Unix socket |
/// | `redis-sentinel://host:26379/0?sentinelServiceName=name&node=host:port` | the master that Sentinel monitors under this name; more sentinels as `node`; `sentinelUsername` and `sentinelPassword` for the sentinels themselves |
/// | `redis-cluster://host:6379?node=host:port` | a cluster; more nodes as `node`, the others are discovered |
///
/// `rediss-sentinel` and `rediss-cluster` use TLS. The protocol is RESP3.
///
/// # Cost
///
/// Each operation takes one round trip: a read (the touch is included), a write (a script compares
/// the version and sets the record), a destroy.
///
/// A session without tags costs nothing more. A write that changes the tags takes two more round
/// trips, and so does about one touch in each lifetime of the session, to extend the indexes of its
/// tags. Both may then remove obsolete entries from these indexes, in another two round trips.
///
/// Concurrent reads, writes and touches are sent in batches. Reads become one
/// `MGET`; writes and touches become one run of their script over up to 64 keys. Each operation gets
/// its own result. A key that `MGET` reports as absent is read once more alone, because `MGET` gives
/// the same answer for a value of another type. No operation waits for a batch to fill. A batch is
/// sent once the runtime has run the tasks that are ready now. Operations use the connections in
/// turns of 64, so that a few concurrent operations still share a batch.
///
/// In a cluster, each node has batches of its own. A node rejects commands with keys of different slots, so a
/// batch there is a script that gets the keys as arguments, and reads become one run of a script too. A
/// key whose slot has moved is sent again alone. With the [near cache](RedisStoreBuilder::with_near_cache),
/// reads are sent alone, because servers before Redis 7.0.9 do not report changes to keys that a script got as
/// arguments.
///
/// If a server rejects a batch as a whole with `CROSSSLOT`, or `MGET` with `NOPERM`, its commands are sent
/// alone. In a cluster, a proxy may require the keys of a script. Then all commands are sent alone for ten
/// seconds.
///
/// The guide lists the [commands](crate::guide::operations) that the Redis user needs.
///
/// # Outages
///
/// An outage is that of one server; in a cluster, of one node. A node that is away does not delay the
/// keys of the others.
///
/// - Every operation ends within the operation timeout with a result or an error. It is retried
///   until then if a retry is safe: see [write](#method.write). To list or destroy the sessions of a tag
///   takes several commands. The limit then holds for each of them.
/// - **An outage starts** when an operation has failed after all its attempts. It also starts if no command has
///   been answered for the operation timeout, even if every caller has stopped waiting. If the
///   server answers other commands meanwhile, a failure is not an outage. Nor is it if earlier commands of the
///   operation were answered and left less than the command timeout: the server may only be slow.
/// - **All commands** are out if the server is not connected, does not answer, loads its data
///   (`LOADING`), has lost its master (`MASTERDOWN`), is blocked by a script (`BUSY`) or belongs to a
///   cluster that is down (`CLUSTERDOWN`). A server that no longer accepts the user or password is not
///   connected.
/// - **Writes** are out if the server is a replica (`READONLY`), or rejects them with `OOM`, `MISCONF` or
///   `NOREPLICAS`. With [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas), writes are also out if
///   none of their connections is open. Reads are answered; a read that would also touch leaves out the touch.
/// - **A known outage costs little.** A touch fails at once, and renewals are skipped. Other operations
///   wait for the [outage timeout](RedisStoreBuilder::outage_timeout) at most. If the server rejects writes
///   with `OOM`, `MISCONF` or `NOREPLICAS`, touches, renewals and writes are sent, because the server answers
///   at once and may accept some.
/// - **An outage ends** when the server accepts a write, or rejects one for a reason that is no outage,
///   such as a missing permission. During an outage, one task for each server tests the server: it sets a
///   key `test:…` under the prefix that expires after a millisecond. Reads that succeed do not end an
///   outage. A redirection to another node of a cluster does not end one either, unless the node has no key of
///   the store. If a cluster replaces the server, the outage of that server ends too.
/// - **Slots of a cluster that no node has** are one outage together. That outage ends when each slot has a
///   node.
/// - The connection queues nothing while it is down. Operations wait individually, at most
///   `max_in_flight` of them.
/// - Lost connections are reopened with exponential backoff and jitter, without a limit on attempts.
///   The store follows failovers by Sentinel and in a cluster. A Sentinel that is suspended while its machine
///   accepts connections can prevent that until it resumes or is stopped.
/// - [`on_outage`](RedisStoreBuilder::on_outage) is called once when an outage starts and once when
///   it ends. If a configuration opens the store, its listeners receive the same reports. With the
///   feature `tracing`, both are logged as warnings with the target `hyper_session`.
/// - Errors in an outage report when to [retry](StoreError::retry_after).
/// - The Redis client underneath writes its own lines to the `log` crate under the target `fred`.
///   Leave that target off, or at `error`.
///
/// # Data that Redis itself may lose
///
/// Replication is asynchronous. A write that the master acknowledged just before it died may be
/// missing on the replica that takes over, so a session that was just destroyed may exist again.
/// [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) narrows this window.
///
/// A server without persistence loses all sessions when it restarts. An eviction policy such as
/// `allkeys-lru` may also evict tombstones and tag indexes; `volatile-ttl` first evicts the keys
/// that expire soonest.
///
/// # Example
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_session::id::SessionId;
/// use hyper_session::store::{Expected, RedisStore, Store, WriteOutcome, WriteRequest};
/// use std::time::Duration;
///
/// let store = RedisStore::builder("redis://127.0.0.1/")
///     .prefix("shop:")
///     .on_outage(|outage| eprintln!("session store: {outage:?}"))
///     .connect()
///     .await?;
/// let (key, hour) = (SessionId::generate()?.store_key(), Duration::from_secs(3600));
/// let written = store.write(WriteRequest::new(&key, "data", hour, Expected::Absent)).await?;
/// assert!(matches!(written, WriteOutcome::Done(_)));
/// # Ok(()) }
/// ```
#[doc(alias = "RedisSessionStore")]
#[derive(Clone)]
pub struct RedisStore(Arc<CommandRunner>);

impl RedisStore {
    /// Connects to the server at `url` with the default settings; see
    /// [`RedisStoreBuilder::connect`].
    ///
    /// # Errors
    /// As for [`RedisStoreBuilder::connect`], with a startup timeout of ten seconds.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a store at `url`.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    /// Destroys every session that has `tag` and returns their number.
    ///
    /// Sessions that are tagged while this runs may be missed.
    ///
    /// # Errors
    /// If the store fails; some of the sessions may have been destroyed then.
    pub fn destroy_tagged(&self, tag: &Tag) -> StoreFuture<u64> {
        let tag = tag.clone();
        self.run_operation("destroy tagged", |runner| async move {
            runner.destroy_tagged(&tag).await
        })
    }

    /// Returns counters of this store.
    pub fn stats(&self) -> RedisStats {
        self.0.stats()
    }

    /// Runs `work` and reports its error as a [`StoreError`] of `operation`.
    fn run_operation<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<CommandRunner>) -> F + Send + 'static,
    ) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, RedisError>> + Send + 'static,
    {
        let runner = Arc::clone(&self.0);
        let reports_outages = runner.settings.reports_outages;
        // The future of `work` is created where it is awaited. It is large, and moving it costs.
        StoreFuture::new(async move {
            let result = work(runner).await;
            result.map_err(|error| {
                let outage_age = error.outage_age();
                let is_unreadable = error.is_unreadable();
                let error = StoreError::new(NAME, operation, error);
                let error = match is_unreadable {
                    true => error.with_unreadable(),
                    false => error,
                };
                let Some(age) = outage_age else {
                    return error;
                };
                let error = error.with_retry_after(age.clamp(MIN_RETRY, MAX_RETRY));
                match reports_outages {
                    true => error.with_outage(),
                    false => error,
                }
            })
        })
    }
}

/// Counters of a [`RedisStore`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Open connections now.
    pub connections: usize,
    /// Servers that do not answer or reject writes now.
    pub unavailable_servers: usize,
    /// Operations in flight now.
    pub in_flight: usize,
    /// Attempts that were retries.
    pub retries: u64,
    /// Outages so far, including current ones.
    pub outages: u64,
    /// Attempts to test a server with a write, because an outage was suspected or known.
    pub test_writes: u64,
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
            None => {
                self.run_operation("read", move |runner| async move { runner.read(&key).await })
            }
            Some(ttl) => self.run_operation("read", move |runner| async move {
                runner.read_and_touch(&key, ttl).await
            }),
        }
    }

    /// Writes a record as the store contract requires.
    ///
    /// If the reply to a write is lost, the write is retried and cannot be applied twice. The write
    /// carries the number of the version that it creates; a record that already has this version
    /// answers the retry. If the record has changed since, the store cannot determine whether the
    /// write was applied. It then fails with [`RedisError::UnknownOutcome`] instead of reporting a
    /// conflict. A write that expects [`Any`](Expected::Any) is not retried after a lost reply.
    ///
    /// # Errors
    /// If the store fails; the write may or may not have been applied then.
    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.run_operation("write", |runner| async move { runner.write(request).await })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run_operation("destroy", move |runner| async move {
            runner.destroy(&key).await
        })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run_operation("touch", move |runner| async move {
            runner.touch(&key, ttl).await
        })
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        let stats = self.stats();
        report(
            NAME,
            StoreStat::Gauge("redis_connections", stats.connections as u64),
        );
        report(
            NAME,
            StoreStat::Gauge("redis_operations", stats.in_flight as u64),
        );
        report(
            NAME,
            StoreStat::Gauge("redis_outages", stats.unavailable_servers as u64),
        );
        report(
            NAME,
            StoreStat::Counter("redis_outages_total", stats.outages),
        );
        report(
            NAME,
            StoreStat::Counter("redis_retries_total", stats.retries),
        );
    }

    /// Returns the whole contract, for all machines; without tombstones if their lifetime is zero.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tombstones: self.0.settings.tombstone_ttl.as_millis() > 0,
            tombstone_ttl: Some(self.0.settings.tombstone_ttl),
            persistent: true,
            shared: true,
            operation_timeout: Some(self.0.settings.operation_timeout),
            ..Capabilities::default()
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        Some(self)
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        let key = *key;
        self.run_operation("read", move |runner| async move {
            let found = runner.read_for_cache(&key).await?;
            let is_live = matches!(found.read, ReadOutcome::Found(_));
            Ok(is_live.then_some(found.ttl))
        })
    }

    /// Returns `false` during an outage of the key's server, except one in which the server rejects writes with
    /// `OOM`, `MISCONF` or `NOREPLICAS`.
    fn is_available(&self, key: &StoreKey) -> bool {
        self.0.is_available(key)
    }

    /// Waits until the server answers, at most for the
    /// [startup timeout](RedisStoreBuilder::startup_timeout). Then checks that it does what the store
    /// needs; in a cluster, that each master does.
    ///
    /// The check runs each command of the store once, and writes, reads, lists and destroys a session with a
    /// tag. It removes all of that again.
    ///
    /// # Errors
    /// If the server does not answer in time. At once, if the reason is permanent: it rejects the user or
    /// the database, does not speak the protocol, differs in the use of TLS, or its host is unknown. Also if
    /// it is a read-only replica, rejects writes, or denies a command, which the error names.
    fn ready(&self) -> StoreFuture<()> {
        self.run_operation("connect", |runner| async move { runner.ready().await })
    }
}

impl TagStore for RedisStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.run_operation("list tagged", move |runner| async move {
            runner.tagged(&tag).await
        })
    }
}

impl ScanStore for RedisStore {
    /// Runs one `SCAN` on one server. If the server restarts or a failover replaces it, the scan visits its keys
    /// again from the first one. The store finds a restart, and a failover of Sentinel, only if the user may run
    /// `INFO`. In a cluster, a session may be missing if its slot moves to another server during the scan.
    ///
    /// A cursor contains the addresses of servers.
    fn scan_page(&self, from: Option<&ScanCursor>) -> StoreFuture<ScanPage> {
        let from = from.cloned();
        self.run_operation("scan", |runner| async move { runner.scan_page(from).await })
    }
}
