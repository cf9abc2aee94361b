//! What a program builds once.

use std::{fmt, future::Future, sync::Arc};

use http::{Request, Response};

use super::hyper::{SessionFn, SessionService};
use crate::{
    clock::Clock,
    config::{ConfigError, SessionConfig, StoreRegistry},
    session::{Engine, Event, Listener, Listeners, Session, SessionCollection},
    store::{Store, StoreError},
};

/// Sessions for a service: the configuration checked, the store chosen, the keys ready.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use hyper_session::{SessionConfig, SessionError, SessionExt, Sessions, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::new(config, MemoryStore::new())?;
///
/// let service = sessions.wrap(hyper::service::service_fn(
///     |request: Request<hyper::body::Incoming>| async move {
///         let session = request.session()?.load().await?;
///         let visits = session.increment("visits")?;
///         let page = format!("visit number {visits}");
///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response::new(Full::new(Bytes::from(page))))
///     },
/// ));
/// # let _ = service; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Engine>);

impl Sessions {
    /// Sessions after `config`, kept in `store`, whatever stores the configuration names.
    ///
    /// # Errors
    /// When a setting is wrong or the keys are missing; the error names the setting.
    pub fn new(mut config: SessionConfig, store: impl Store) -> Result<Self, ConfigError> {
        (config.migrate_from, config.migrate_to) = (None, None);
        Self::builder(config.store("given"))
            .stores(StoreRegistry::new().with("given", store))
            .build()
    }

    /// Begins to build sessions with named stores, listeners, or a clock of your own.
    pub fn builder(config: SessionConfig) -> SessionsBuilder {
        SessionsBuilder {
            config,
            stores: StoreRegistry::default(),
            clock: Clock::system(),
            listeners: Listeners::default(),
        }
    }

    /// Puts sessions around a hyper service, which finds them by [`SessionExt`](super::SessionExt).
    pub fn wrap<S>(&self, inner: S) -> SessionService<S> {
        SessionService::new(inner, self.0.clone())
    }

    /// Puts sessions around a function of the request and its session. This is the cheapest way:
    /// the request's extensions are left alone.
    pub fn wrap_fn<F, In, Out, Fut, E>(&self, function: F) -> SessionFn<F>
    where
        F: Fn(Request<In>, Session) -> Fut,
        Fut: Future<Output = Result<Response<Out>, E>>,
    {
        SessionFn::new(function, self.0.clone())
    }

    /// Waits until the stores can answer, or until they say why not: for the start of a service, so
    /// that its first visitors do not wait for what is not there yet, and a wrong address is found
    /// before anybody comes. It may be called again at any time.
    ///
    /// How long is up to each store. That in Redis waits for its server up to the startup timeout
    /// (`stores.redis.startup_timeout`, 10 seconds), and gives up at once where it refuses the user;
    /// the other built-in stores are ready once they are built. Sessions work without this as well:
    /// then the first request connects.
    ///
    /// ```
    /// use hyper_session::{SessionConfig, Sessions};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = Sessions::builder(SessionConfig::default().with_env()?).build()?;
    /// sessions.ready().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When a store does not answer in time, or refuses; the error says which and why.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.0.backend.store().ready().await
    }

    /// All sessions, without a request: to log out everywhere, or to count.
    pub fn collection(&self) -> SessionCollection {
        SessionCollection::new(self.0.clone())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.0).finish()
    }
}

/// Builds [`Sessions`].
#[derive(Debug)]
#[must_use = "nothing is built before `build`"]
pub struct SessionsBuilder {
    config: SessionConfig,
    stores: StoreRegistry,
    clock: Clock,
    listeners: Listeners,
}

impl SessionsBuilder {
    /// The stores out of which the configuration chooses one by name, in the place of those that
    /// come with the crate, which [`StoreRegistry::new`] begins with.
    pub fn stores(mut self, stores: StoreRegistry) -> Self {
        self.stores = stores;
        self
    }

    /// Tells `listener` what happens to sessions. May be called several times.
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.listeners.add(listener);
        self
    }

    /// The clock by which renewals and absolute lifetimes are counted. The store has its own.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks everything and builds.
    ///
    /// # Errors
    /// When a setting is wrong, the keys are missing, or no store has the name that is asked for.
    pub fn build(self) -> Result<Sessions, ConfigError> {
        let engine = self
            .config
            .into_engine(self.stores, self.clock, self.listeners)?;
        if let Some(reason) = engine.adjusted {
            engine.emit(&Event::ConfigAdjusted { reason });
        }
        Ok(Sessions(Arc::new(engine)))
    }
}
