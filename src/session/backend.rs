//! The store of one service, and a request's handle to it.

use std::{cell::OnceCell, fmt, sync::Arc};

use http::HeaderValue;

use super::SessionError;
use crate::{
    cookie::CookieName,
    store::{BoundStore, CookieContext, CookieLines, RequestStore, SetCookies, Store, StoreError},
};

/// The store of one engine: on the server side, or in the visitor's cookies.
pub(crate) enum Backend {
    Server(Box<dyn Store>),
    /// A store that reads and writes only within a request, through a [`StoreHandle`].
    Client(Box<dyn BoundStore>),
}

impl Backend {
    /// Binds a client-side store to the service's keys and cookie names. Other stores ignore them.
    pub(crate) fn new(
        store: Box<dyn Store>,
        context: &CookieContext<'_>,
    ) -> Result<Self, StoreError> {
        match store.client_side() {
            Some(client) => client.bind(context).map(Self::Client),
            None => Ok(Self::Server(store)),
        }
    }

    /// Returns the names of the cookies of a client-side store.
    pub(crate) fn cookie_names(&self) -> Vec<CookieName> {
        match self {
            Self::Server(_) => Vec::new(),
            Self::Client(bound) => bound.cookie_names(),
        }
    }

    /// Returns `true` for a client-side store with a revocation list.
    pub(crate) fn has_revocation_list(&self) -> bool {
        match self {
            Self::Server(_) => false,
            Self::Client(bound) => bound.has_revocation_list(),
        }
    }

    /// Returns the store outside of any request.
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Self::Server(store) => &**store,
            Self::Client(bound) => &**bound,
        }
    }
}

/// A request's handle to its store. With a server-side store it is empty.
#[derive(Default)]
pub(super) struct StoreHandle {
    /// The request's `Cookie` lines.
    lines: CookieLines,
    /// The client-side store of this request, created at its first use.
    attached: OnceCell<Arc<dyn RequestStore>>,
    /// The cookies of a savepoint that was restored. They replace the store's own lines.
    restored: Option<SetCookies>,
}

impl StoreHandle {
    /// Keeps a `Cookie` line for a client-side store.
    pub(super) fn collect_cookies(&mut self, backend: &Backend, line: &HeaderValue) {
        if let Backend::Client(_) = backend {
            self.lines.push(line.clone());
        }
    }

    pub(super) fn reset(&mut self) {
        if !self.lines.is_empty() || self.attached.get().is_some() {
            *self = Self::default();
        }
    }

    /// Returns the store as this request sees it.
    pub(super) fn store<'a>(&'a self, backend: &'a Backend) -> &'a dyn Store {
        match backend {
            Backend::Server(store) => &**store,
            Backend::Client(bound) => &**self.attached.get_or_init(|| bound.attach(&self.lines)),
        }
    }

    /// Returns `true` if this request used a client-side store.
    pub(super) fn is_attached(&self) -> bool {
        self.attached.get().is_some()
    }

    /// Returns the `Set-Cookie` lines of a client-side store for the data that is stored now.
    pub(super) fn set_cookies(&self, clear_with_browser: bool) -> Result<SetCookies, SessionError> {
        match (&self.restored, self.attached.get()) {
            (Some(restored), _) => Ok(restored.clone()),
            (None, Some(attached)) => Ok(attached.set_cookies(clear_with_browser)?),
            (None, None) => Ok(SetCookies::new()),
        }
    }

    /// Makes [`set_cookies`](Self::set_cookies) return these, if a client-side store was used.
    pub(super) fn restore_cookies(&mut self, cookies: SetCookies) {
        if self.is_attached() {
            self.restored = Some(cookies);
        }
    }

    /// Returns the reason why a client-side store rejected the request's data cookie.
    pub(super) fn rejection(&self) -> Option<&'static str> {
        self.attached.get()?.rejection()
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreHandle(…)")
    }
}
