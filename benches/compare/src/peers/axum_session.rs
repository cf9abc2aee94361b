//! axum_session without a database, so with sessions in memory; the id cookie is plain or signed.

use std::convert::Infallible;

use axum_session::{Key, Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use http::{Request, Response, header::COOKIE as COOKIE_HEADER};
use tower::{Layer, Service, service_fn};

use crate::{
    case::Job,
    document::{COUNTER, Size},
    drive::drive,
    peer::{Call, Peer},
    request::{self, Body, COOKIE, Visitors},
};

type HandlerResult = Result<Response<Body>, Infallible>;
type Store = SessionStore<SessionNullPool>;
type Wrapped<S> = <SessionLayer<SessionNullPool> as Layer<S>>::Service;

pub struct Contender {
    config: SessionConfig,
    signed: bool,
    store: Store,
}

impl Contender {
    pub fn plain() -> Self {
        Self::new(SessionConfig::default().with_session_name(COOKIE), false)
    }

    pub fn signed() -> Self {
        let config = SessionConfig::default().with_session_name(COOKIE);
        Self::new(config.with_key(Key::generate()), true)
    }

    fn new(config: SessionConfig, signed: bool) -> Self {
        let store = store(&config);
        Self {
            config,
            signed,
            store,
        }
    }
}

fn store(config: &SessionConfig) -> Store {
    drive(Store::new(None, config.clone())).expect("a store without a database has no errors")
}

impl Peer for Contender {
    fn name(&self) -> &str {
        if self.signed {
            "axum_session signed"
        } else {
            "axum_session plain"
        }
    }

    fn seed(&self, size: Size) -> String {
        let service = service_fn(move |request: Request<Body>| async move {
            let session = session(&request);
            size.entries()
                .into_iter()
                .for_each(|(key, value)| session.set(key, value));
            HandlerResult::Ok(request::response())
        });
        super::tower_seed(wrap(&self.store, service))
    }

    fn call(&self, job: Job, visitors: Visitors) -> Call {
        let is_new = |request: &Request<Body>| !request.headers().contains_key(COOKIE_HEADER);
        if visitors.requests().iter().any(is_new) {
            return call_without_cookie(store(&self.config), visitors);
        }
        match job {
            Job::Ignore => super::tower_call(wrap(&self.store, service_fn(ignore)), visitors),
            Job::Read => super::tower_call(wrap(&self.store, service_fn(read)), visitors),
            Job::Increment => super::tower_call(wrap(&self.store, service_fn(increment)), visitors),
        }
    }

    fn raw(&self, visitors: Visitors) -> Call {
        super::tower_raw(visitors)
    }
}

/// Returns a call for requests without a cookie. Each of them creates a session, so the call has a
/// store of its own, which is cleared between calls.
fn call_without_cookie(mut store: Store, visitors: Visitors) -> Call {
    let mut call = super::tower_call(wrap(&store, service_fn(ignore)), visitors);
    call.cleanup = Box::new(move || drive(store.clear()));
    call
}

fn wrap<S>(store: &Store, inner: S) -> Wrapped<S>
where
    S: Service<Request<Body>>,
{
    SessionLayer::new(store.clone()).layer(inner)
}

fn session(request: &Request<Body>) -> Session<SessionNullPool> {
    let session = request.extensions().get::<Session<SessionNullPool>>();
    session.expect("the layer gives a session").clone()
}

async fn ignore(request: Request<Body>) -> HandlerResult {
    drop(request);
    Ok(request::response())
}

async fn read(request: Request<Body>) -> HandlerResult {
    request::set_seen(session(&request).get(COUNTER).unwrap_or_default());
    Ok(request::response())
}

async fn increment(request: Request<Body>) -> HandlerResult {
    let session = session(&request);
    let next = session.get::<i64>(COUNTER).unwrap_or_default() + 1;
    session.set(COUNTER, next);
    request::set_seen(next);
    Ok(request::response())
}
