//! The builder of a Redis store.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Application, NAME, RedisStore,
    client::{Client, InvalidationListener},
    command_runner::CommandRunner,
    key_names::KeyNames,
    log,
    outage::{Outage, OutageReporter},
    settings::Settings,
};
use crate::store::{Store, StoreError};

/// The address and the limits of a [`RedisStore`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisStoreBuilder {
    url: ServerUrl,
    settings: Settings,
}

/// A URL that `Debug` does not print, since it may hold a password.
#[derive(Clone)]
struct ServerUrl(String);

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl RedisStoreBuilder {
    /// Creates the builder that [`RedisStore::builder`] returns.
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: ServerUrl(url.into()),
            settings: Settings::default(),
        }
    }

    /// Sets the prefix of every key of this store. Default: `session:`.
    ///
    /// Two applications on one database need two prefixes. With one, they share their tags, so that
    /// destroying the sessions of a tag ends sessions of both. If a configuration opens the stores, the
    /// second one reports [`PrefixShared`](crate::session::Event::PrefixShared) at its start.
    ///
    /// In a cluster, a prefix with a hash tag, such as `{shop}:`, puts all sessions on one node.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Sets the number of connections; in a cluster, the number to each master. Default: 2.
    ///
    /// All operations are pipelined on them, so a few serve thousands of requests. More help only if
    /// one connection uses a whole core of this process. A connection takes about 50 KB of memory. One of a store
    /// with a near cache takes 0.9 MB, mostly for bursts of changes.
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.settings.pool_size = connections;
        self
    }

    /// Sets the timeout for opening a connection and for each step of its setup. Default: 2 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets the timeout of one attempt at one command, at most fifteen sixteenths of the operation
    /// timeout. Default: 1 s.
    ///
    /// A connection on which a command gets no reply within this time, and no other command either, is closed and
    /// reopened.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.settings.command_timeout = timeout;
        self
    }

    /// Sets the timeout of a whole operation, including its retries and the wait for a connection. It
    /// must be less than [`commit_timeout`](crate::SessionConfig::commit_timeout).
    /// Default: 3 s.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.settings.operation_timeout = timeout;
        self
    }

    /// Sets how long an operation waits during a known [outage](RedisStore#outages), instead of the
    /// operation timeout. Default: 250 ms.
    ///
    /// A touch does not wait at all then.
    pub fn outage_timeout(mut self, timeout: Duration) -> Self {
        self.settings.outage_timeout = timeout;
        self
    }

    /// Sets how long [`connect`](Self::connect) waits for the server. Default: 10 s.
    pub fn startup_timeout(mut self, timeout: Duration) -> Self {
        self.settings.startup_timeout = timeout;
        self
    }

    /// Sets how long a destroyed key keeps its tombstone. It must be longer than the longest request.
    /// Default: 60 s.
    ///
    /// Zero disables tombstones. A request that is slower than the destroy then restores the
    /// session. The store's [capabilities](crate::store::Store::capabilities) report this.
    pub fn tombstone_ttl(mut self, ttl: Duration) -> Self {
        self.settings.tombstone_ttl = ttl;
        self
    }

    /// Sets the maximum number of operations in flight, including those that wait for a connection.
    /// Default: 10,000.
    ///
    /// Another operation fails at once with [`Overloaded`](super::RedisError::Overloaded).
    pub fn max_in_flight(mut self, operations: usize) -> Self {
        self.settings.max_in_flight = operations;
        self
    }

    /// Sets how many replicas must confirm a write or a destroy (`WAIT`). Default: 0.
    ///
    /// This costs one more round trip. Concurrent writes share it. Writes and destroys then have connections of
    /// their own, as many again as the [pool size](Self::pool_size), because `WAIT` blocks a connection.
    ///
    /// A write that the master acknowledged just before it died may be missing on the replica that takes over.
    /// `WAIT` narrows that window but does not close it, since the elected replica need not be one of those
    /// that confirmed.
    ///
    /// If too few replicas confirm within half of the command timeout, the operation fails with
    /// [`Unreplicated`](super::RedisError::Unreplicated). The master has acknowledged the write then. Other
    /// writes may wait for this time too. Reads and touches do not.
    pub fn wait_for_replicas(mut self, replicas: u32) -> Self {
        self.settings.replicas = replicas;
        self
    }

    /// Sets a function that is called when an outage starts and when it ends, for example to count
    /// it. It must not block. With the feature `tracing`, outages are also logged, without any
    /// function.
    ///
    /// Errors during an outage [report that they belong to it](StoreError::is_outage), so that
    /// listeners need not log each of them. If a configuration opens the store, its listeners receive
    /// [`StoreUnavailable`](crate::session::Event::StoreUnavailable) instead.
    pub fn on_outage(mut self, report: impl Fn(&Outage) + Send + Sync + 'static) -> Self {
        self.settings.on_outage = Arc::new(report);
        self.settings.reports_outages = true;
        self
    }

    /// Sets the application, to detect another one that uses the same prefix.
    pub(crate) fn application(mut self, application: Application) -> Self {
        self.settings.application = Some(application);
        self
    }

    /// Builds the store without connecting.
    ///
    /// The first operation opens the connections in the background and waits for them within its
    /// operation timeout.
    ///
    /// # Errors
    /// If the URL is invalid, or if it requires TLS and the system has no trusted certificates.
    pub fn build(self) -> Result<RedisStore, StoreError> {
        self.build_with_listener(|_| None)
    }

    /// Builds the store with the invalidation listener that `listener` makes of its key names.
    pub(super) fn build_with_listener(
        self,
        listener: impl FnOnce(&KeyNames) -> Option<Arc<dyn InvalidationListener>>,
    ) -> Result<RedisStore, StoreError> {
        let settings = self.settings.with_max_times();
        let names = KeyNames::new(&settings.prefix);
        let on_outage = Arc::clone(&settings.on_outage);
        let reporter = Arc::new(OutageReporter::new(move |outage| {
            log::outage(outage);
            on_outage(outage);
        }));
        let listener = listener(&names);
        let client = Client::new(&self.url.0, &settings, &names, &reporter, listener)
            .map_err(|error| StoreError::new(NAME, "configure", error))?;
        let runner = CommandRunner::new(client, names, reporter, settings);
        Ok(RedisStore(Arc::new(runner)))
    }

    /// Builds the store, waits until the server has answered, and checks that it does what the store
    /// needs; see [`Store::ready`] of [`RedisStore`].
    ///
    /// # Errors
    /// As for [`build`](Self::build). Also if the server does not answer within the startup timeout, or
    /// fails the check; the error reports how.
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        let store = self.build()?;
        store.ready().await?;
        Ok(store)
    }
}
