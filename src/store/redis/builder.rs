//! What may be chosen about a Redis store.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    CachedRedisStoreBuilder, NAME, RedisStore,
    client::{Client, Hear},
    engine::Engine,
    keys::Names,
    outage::Outage,
};
use crate::store::{Store, StoreError};

/// The address and the limits of a [`RedisStore`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisStoreBuilder {
    url: Url,
    settings: Settings,
}

/// Not shown: it may hold a password.
#[derive(Clone)]
struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) prefix: String,
    pub(super) pool_size: usize,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
    pub(super) operation_timeout: Duration,
    pub(super) startup_timeout: Duration,
    pub(super) tombstone: Duration,
    pub(super) max_in_flight: usize,
    pub(super) replicas: u32,
    pub(super) on_outage: Arc<dyn Fn(&Outage) + Send + Sync>,
    /// Whether somebody has asked to be told of outages.
    pub(super) tells: bool,
}

impl Settings {
    /// How long one attempt may take: a little less than all attempts together may, since one that
    /// takes all the time there is cannot be told from one that never ends.
    pub(super) fn patience(&self) -> Duration {
        let most = self
            .operation_timeout
            .saturating_sub(self.operation_timeout / 16);
        self.command_timeout.min(most)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("prefix", &self.prefix)
            .field("pool_size", &self.pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("startup_timeout", &self.startup_timeout)
            .field("tombstone", &self.tombstone)
            .field("max_in_flight", &self.max_in_flight)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl RedisStoreBuilder {
    /// See [`RedisStore::builder`].
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: Url(url.into()),
            settings: Settings {
                prefix: "session:".into(),
                pool_size: 2,
                connect_timeout: Duration::from_secs(2),
                command_timeout: Duration::from_secs(1),
                operation_timeout: Duration::from_secs(3),
                startup_timeout: Duration::from_secs(10),
                tombstone: Duration::from_secs(60),
                max_in_flight: 10_000,
                replicas: 0,
                on_outage: Arc::new(|_| ()),
                tells: false,
            },
        }
    }

    /// What every key of this store begins with. Default: `session:`.
    ///
    /// Two applications on one database need two prefixes.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// How many connections are used; in a cluster, how many to each master. Default: 2.
    ///
    /// All operations are pipelined on them, so a few serve thousands of requests. More help only
    /// where one core of this process is busy with one of them.
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.settings.pool_size = connections;
        self
    }

    /// How long making a connection may take, and each step of setting it up. Default: 2 s.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.settings.connect_timeout = time;
        self
    }

    /// How long one attempt at one command may take. A connection that stays silent for twice as
    /// long is closed and made anew. At most fifteen sixteenths of the total timeout. Default: 1 s.
    pub fn command_timeout(mut self, time: Duration) -> Self {
        self.settings.command_timeout = time;
        self
    }

    /// How long an operation may take in all, with its repetitions and the waiting for a
    /// connection. Default: 3 s.
    pub fn operation_timeout(mut self, time: Duration) -> Self {
        self.settings.operation_timeout = time;
        self
    }

    /// How long [`connect`](Self::connect) waits for the server. Default: 10 s.
    pub fn startup_timeout(mut self, time: Duration) -> Self {
        self.settings.startup_timeout = time;
        self
    }

    /// How long a destroyed key stays fenced; it must outlast the longest request. Default: 60 s.
    ///
    /// Zero means no fence at all: a request that is slower than the destroy brings the session
    /// back, and the store's [capabilities](crate::store::Store::capabilities) say so.
    pub fn tombstone_ttl(mut self, time: Duration) -> Self {
        self.settings.tombstone = time;
        self
    }

    /// How many operations may be under way at once, those that wait for a connection among them.
    /// One more is refused at once with [`Overloaded`](super::RedisError::Overloaded). Default: 10,000.
    pub fn max_in_flight(mut self, operations: usize) -> Self {
        self.settings.max_in_flight = operations;
        self
    }

    /// How many replicas must have a write or a destroy before it counts as done (`WAIT`).
    /// Default: 0.
    ///
    /// Costs a round trip more. Without it, what the master acknowledged in the last moment before
    /// it died may be missing on the replica that takes its place. It narrows that window; it does
    /// not close it, since the replica that is elected need not be one of those that confirmed.
    /// Where too few confirm within the command timeout, the answer is
    /// [`Unreplicated`](super::RedisError::Unreplicated), and the write stays on the master.
    pub fn wait_for_replicas(mut self, replicas: u32) -> Self {
        self.settings.replicas = replicas;
        self
    }

    /// Called when an outage starts and when it ends, and not in between: the place for a line in
    /// the log. It must not block.
    ///
    /// The errors in between [say of themselves](StoreError::is_outage) that they were told of, so
    /// that no listener logs them again. Where a configuration opens the store, its listeners are told
    /// ([`StoreUnavailable`](crate::session::Event::StoreUnavailable)).
    pub fn on_outage(mut self, tell: impl Fn(&Outage) + Send + Sync + 'static) -> Self {
        self.settings.on_outage = Arc::new(tell);
        self.settings.tells = true;
        self
    }

    /// A local cache in front of the store; see [`CachedRedisStore`](super::CachedRedisStore).
    pub fn cached(self) -> CachedRedisStoreBuilder {
        CachedRedisStoreBuilder::new(self)
    }

    /// The store, not connected yet: connections are made in the background from the first
    /// operation on, which waits for them within its total timeout.
    ///
    /// # Errors
    /// When the URL is not valid, or asks for TLS where the system has no trusted certificates.
    pub fn build(self) -> Result<RedisStore, StoreError> {
        self.build_heard(|_| None)
    }

    /// The store, with what `listener` makes of its names told of changes.
    pub(super) fn build_heard(
        self,
        listener: impl FnOnce(&Names) -> Option<Arc<dyn Hear>>,
    ) -> Result<RedisStore, StoreError> {
        let names = Names::new(&self.settings.prefix);
        let client = Client::new(&self.url.0, &self.settings)
            .and_then(|mut client| {
                let listener = listener(&names);
                listener.map_or(Ok(()), |listener| client.listen(listener))?;
                Ok(client)
            })
            .map_err(|error| StoreError::new(NAME, "configure", error))?;
        Ok(RedisStore(Arc::new(Engine::new(
            client,
            names,
            self.settings,
        ))))
    }

    /// The store, once the server has answered.
    ///
    /// # Errors
    /// As [`build`](Self::build), and when the server does not answer within the startup timeout or
    /// refuses the user: the error says which.
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        let store = self.build()?;
        store.ready().await?;
        Ok(store)
    }
}
