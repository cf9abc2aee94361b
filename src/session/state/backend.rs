//! Where records are: at the server, or with the visitor.

use std::{cell::OnceCell, fmt, sync::Arc};

use http::{HeaderMap, header::COOKIE};

use crate::session::{Event, SessionError, engine::Engine, state::State};
use crate::store::{
    BoundStore, CookieContext, CookieLines, RequestStore, SetCookies, Store, StoreError,
};

/// The store of one engine.
pub(crate) enum Backend {
    Server(Box<dyn Store>),
    /// It answers within a request: see [`StoreHandle`].
    Client(Box<dyn BoundStore>),
}

impl Backend {
    /// A store as it is used; a client-side one under these keys and names.
    pub(crate) fn new(
        store: Box<dyn Store>,
        binding: &CookieContext<'_>,
    ) -> Result<Self, StoreError> {
        match store.client_side() {
            Some(client) => client.bind(binding).map(Self::Client),
            None => Ok(Self::Server(store)),
        }
    }

    /// The store without a request.
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Self::Server(store) => &**store,
            Self::Client(bound) => &**bound,
        }
    }
}

/// A request's side of a client-side store; nothing where the store is at the server.
#[derive(Default)]
pub(in crate::session) struct StoreHandle {
    lines: CookieLines,
    /// Made when the store is first asked.
    attached: OnceCell<Arc<dyn RequestStore>>,
    /// What it had to say of what stands, where nothing later counts.
    pub(in crate::session) said: Option<SetCookies>,
}

impl StoreHandle {
    pub(in crate::session) fn note_cookies(&mut self, engine: &Engine, headers: &HeaderMap) {
        if let Backend::Client(_) = engine.backend {
            self.lines.extend(headers.get_all(COOKIE).iter().cloned());
        }
    }

    pub(in crate::session) fn reset(&mut self) {
        if !self.lines.is_empty() || self.attached.get().is_some() {
            *self = Self::default();
        }
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreHandle(…)")
    }
}

impl State {
    /// The store, as this request sees it.
    pub(in crate::session) fn store<'a>(&'a self, engine: &'a Engine) -> &'a dyn Store {
        match &engine.backend {
            Backend::Server(store) => &**store,
            Backend::Client(bound) => {
                let StoreHandle {
                    lines, attached, ..
                } = &self.visitor;
                &**attached.get_or_init(|| bound.attach(lines))
            }
        }
    }

    /// Whether a client-side store was asked anything.
    pub(in crate::session) fn is_attached(&self) -> bool {
        self.visitor.attached.get().is_some()
    }

    /// What a client-side store has to tell the browser.
    pub(in crate::session) fn outgoing(&self) -> Result<SetCookies, SessionError> {
        match (&self.visitor.said, self.visitor.attached.get()) {
            (Some(said), _) => Ok(said.clone()),
            (None, Some(attached)) => Ok(attached.set_cookies()?),
            (None, None) => Ok(SetCookies::new()),
        }
    }

    /// Tells of a data cookie that was refused.
    pub(in crate::session) fn tell_rejected(&self, engine: &Engine) {
        let attached = self.visitor.attached.get();
        if let Some(reason) = attached.and_then(|attached| attached.rejection()) {
            engine.emit(&Event::CookieRejected { reason });
        }
    }
}
