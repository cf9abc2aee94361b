//! The session middleware, and its builder.

use std::{
    any::{Any, TypeId},
    fmt,
    future::Future,
    sync::Arc,
};

use http::{HeaderMap, Request, Response};

use super::{
    hyper::{SessionFn, SessionService},
    log, meter,
};
use crate::{
    clock::Clock,
    config::{ConfigError, SessionConfig, StoreRegistry},
    session::{Engine, Event, Listener, Listeners, Session, SessionCollection},
    store::{Store, StoreError},
};

/// Session middleware with a checked configuration, a store and keys. Clones share all of it.
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
#[doc(alias = "SessionManagerLayer")]
#[doc(alias = "SessionMiddleware")]
#[doc(alias = "express-session")]
pub struct Sessions(pub(super) Arc<Engine>);

impl Sessions {
    /// Creates sessions with this configuration and store. The names of stores in the configuration
    /// are ignored.
    ///
    /// # Errors
    /// If a setting is invalid or the keys are missing. The error names the setting.
    pub fn new(config: SessionConfig, store: impl Store) -> Result<Self, ConfigError> {
        Self::builder(config).store(store).build()
    }

    /// Returns a builder, for named stores, listeners or another clock.
    pub fn builder(config: SessionConfig) -> SessionsBuilder {
        SessionsBuilder {
            config,
            stores: StoreRegistry::default(),
            clock: Clock::system(),
            listeners: Listeners::default(),
        }
    }

    /// Wraps a hyper service. It gets the session from the request's extensions, with
    /// [`SessionExt`](super::SessionExt).
    ///
    /// If an outer layer of the same `Sessions` has inserted a session already, the inner service gets
    /// that session, and the outer layer commits it. Two `Sessions` around one service need two cookie
    /// names; see [`SessionLayerConflict`](super::SessionLayerConflict).
    pub fn wrap<S>(&self, inner: S) -> SessionService<S> {
        SessionService::new(inner, self.0.clone())
    }

    /// Wraps a function of the request and its session. This is the fastest way, because it does not
    /// insert the session into the request's extensions.
    ///
    /// If an outer layer of the same `Sessions` has inserted one, the function gets that session, as for
    /// [`wrap`](Self::wrap). If the function itself calls a service that the same `Sessions` wraps, it
    /// must insert its session into the extensions first.
    pub fn wrap_fn<F, In, Out, Fut, E>(&self, function: F) -> SessionFn<F>
    where
        F: Fn(Request<In>, Session) -> Fut,
        Fut: Future<Output = Result<Response<Out>, E>>,
    {
        SessionFn::new(function, self.0.clone())
    }

    /// Waits until the stores are ready.
    ///
    /// Call it when a service starts: the first visitors then do not wait for a connection, and a wrong
    /// address is found early. It is optional, and may be called again at any time. Without it, the
    /// first request connects.
    ///
    /// Each store has its own timeout. The Redis store waits for its server up to the startup timeout
    /// (`stores.redis.startup_timeout`, 10 seconds by default), and fails at once if the server rejects
    /// the user. The other built-in stores are always ready.
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
    /// If a store does not become ready in time, or rejects the connection. The error names the store
    /// and the reason.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.0.backend.store().ready().await
    }

    /// Syncs every acknowledged change to the disk, if a store keeps sessions on this machine's disk.
    ///
    /// # Errors
    /// If the disk fails. The error names the store and the reason.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.backend.store().flush().await
    }

    /// Closes the stores, also those that the configuration opened. Call it when a service has answered
    /// its last request.
    ///
    /// The file store syncs all data, writes the hint that makes the next opening fast, and releases
    /// its directory. Requests that use a session fail afterwards. Further calls succeed.
    ///
    /// ```
    /// use hyper_session::{SessionConfig, Sessions};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = Sessions::builder(SessionConfig::default().with_env()?).build()?;
    /// // Serve, until the process must stop.
    /// sessions.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If data cannot be written to the disk. The stores are closed even then.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.backend.store().close().await
    }

    /// Returns the store if it is of type `S`, such as to read its statistics. The configuration may
    /// have opened it.
    ///
    /// Returns `None` for a store of another type, and for one that is part of another store, such as
    /// of a [`MigratingStore`](crate::store::MigratingStore).
    ///
    /// ```
    /// use hyper_session::{SessionConfig, Sessions, store::MemoryStore};
    ///
    /// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
    /// let sessions = Sessions::builder(config.store("memory")).build()?;
    /// let stats = sessions.store::<MemoryStore>().map(MemoryStore::stats);
    /// # assert!(stats.is_some());
    /// # Ok::<(), hyper_session::config::ConfigError>(())
    /// ```
    pub fn store<S: Store>(&self) -> Option<&S> {
        let store: &dyn Any = self.0.backend.store();
        store.downcast_ref()
    }

    /// Removes the session's cookies from the `Cookie` headers of a request, so that a proxy can forward
    /// it.
    ///
    /// Removes every cookie with the name of the id cookie, and every cookie of a
    /// [`CookieStore`](crate::store::CookieStore). The bytes of other cookies do not change. A header
    /// line without another cookie is removed. Headers without a cookie of the session cost no
    /// allocation.
    ///
    /// A session of this request that exists already is not changed: it has read the cookies.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::COOKIE};
    /// use hyper_session::{MemoryStore, SessionConfig, Sessions};
    ///
    /// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
    /// let sessions = Sessions::new(config, MemoryStore::new())?;
    /// let mut headers = HeaderMap::new();
    /// headers.insert(COOKIE, HeaderValue::from_static("theme=dark; session=abc; lang=en"));
    /// sessions.strip_cookies(&mut headers);
    /// assert_eq!(headers[COOKIE], "theme=dark; lang=en");
    /// # Ok::<(), hyper_session::config::ConfigError>(())
    /// ```
    pub fn strip_cookies(&self, request: &mut HeaderMap) {
        self.0.stripper.strip_cookies(request);
    }

    /// Removes the `Set-Cookie` headers of a response that set or remove a cookie of the session. Other
    /// lines do not change.
    ///
    /// A proxy calls it for each response of its upstream server. Otherwise, an upstream server with a
    /// cookie of the same name replaces the session in the browser. If a response of the handler and
    /// the session set the same cookie, the session's cookie is sent, with or without this call.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
    /// use hyper_session::{MemoryStore, SessionConfig, Sessions};
    ///
    /// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
    /// let sessions = Sessions::new(config, MemoryStore::new())?;
    /// let mut headers = HeaderMap::new();
    /// headers.append(SET_COOKIE, HeaderValue::from_static("session=theirs; Path=/"));
    /// headers.append(SET_COOKIE, HeaderValue::from_static("theme=dark; Path=/"));
    /// sessions.strip_set_cookies(&mut headers);
    /// assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 1);
    /// # Ok::<(), hyper_session::config::ConfigError>(())
    /// ```
    pub fn strip_set_cookies(&self, response: &mut HeaderMap) {
        self.0.stripper.strip_set_cookies(response);
    }

    /// Returns the collection of all stored sessions, for use outside of a request: to log a user out
    /// everywhere, or to count sessions.
    pub fn collection(&self) -> SessionCollection {
        SessionCollection::new(self.0.clone())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.0).finish()
    }
}

/// Returns `true` if every service has this listener already.
fn is_default_listener<L: Listener>() -> bool {
    let listener = TypeId::of::<L>();
    log::listener() == Some(listener) || meter::listener() == Some(listener)
}

/// The name of a store that the program passes instead of a name.
const GIVEN_STORE: &str = "given";

/// A builder of [`Sessions`].
#[derive(Debug)]
#[must_use = "call `build` to get `Sessions`"]
pub struct SessionsBuilder {
    config: SessionConfig,
    stores: StoreRegistry,
    clock: Clock,
    listeners: Listeners,
}

impl SessionsBuilder {
    /// Sets the store. The names of stores in the configuration are then ignored.
    ///
    /// ```
    /// use hyper_session::{MemoryStore, SessionConfig, Sessions, clock::{Clock, Timestamp}};
    ///
    /// # fn main() -> Result<(), hyper_session::config::ConfigError> {
    /// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
    /// let clock = Clock::manual(Timestamp::from_millis(0));
    /// let store = MemoryStore::builder().clock(clock.clone()).build();
    /// let sessions = Sessions::builder(config).store(store).clock(clock).build()?;
    /// # let _ = sessions; Ok(()) }
    /// ```
    pub fn store(mut self, store: impl Store) -> Self {
        let config = &mut self.config;
        (config.migrate_from, config.migrate_to) = (None, None);
        GIVEN_STORE.clone_into(&mut config.store);
        self.stores(StoreRegistry::new().register(GIVEN_STORE, store))
    }

    /// Sets the stores from which the configuration selects one by name. Default:
    /// [`StoreRegistry::default`], the built-in stores.
    pub fn stores(mut self, stores: StoreRegistry) -> Self {
        self.stores = stores;
        self
    }

    /// Adds a listener for session events. Several calls add up.
    ///
    /// With the features `tracing` and `metrics`, `TracingListener` and `MetricsListener` are always on.
    /// Adding one of them again changes nothing.
    pub fn listener<L: Listener>(mut self, listener: L) -> Self {
        if !is_default_listener::<L>() {
            self.listeners.add(listener);
        }
        self
    }

    /// Sets the clock for touches and the absolute timeout. The store has a clock of its own.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the configuration and builds the sessions.
    ///
    /// # Errors
    /// If a setting is invalid, the keys are missing, or no store has the configured name.
    pub fn build(mut self) -> Result<Sessions, ConfigError> {
        log::add_listener(&mut self.listeners, &self.clock);
        meter::add_listener(&mut self.listeners);
        let engine = self
            .config
            .into_engine(self.stores, self.clock, self.listeners)?;
        log::started(&engine);
        if let Some(reason) = engine.adjusted {
            engine.emit(&Event::ConfigAdjusted { reason });
        }
        Ok(Sessions(Arc::new(engine)))
    }
}
