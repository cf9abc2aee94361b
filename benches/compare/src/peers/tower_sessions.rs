//! tower-sessions with its memory store; the id cookie is plain or encrypted.

use std::convert::Infallible;

use http::{Request, Response};
use time::Duration;
use tower::{Layer, service_fn};
use tower_sessions::{
    Expiry, MemoryStore, Session, SessionManagerLayer, cookie::Key, service::CookieController,
};

use crate::{
    case::Job,
    document::{COUNTER, Size},
    peer::{Call, Peer},
    request::{self, Body, COOKIE, Visitors},
};

type HandlerResult = Result<Response<Body>, Infallible>;

pub struct Contender {
    store: MemoryStore,
    key: Option<Key>,
}

impl Contender {
    pub fn plain() -> Self {
        Self {
            store: MemoryStore::default(),
            key: None,
        }
    }

    pub fn private() -> Self {
        Self {
            store: MemoryStore::default(),
            key: Some(Key::generate()),
        }
    }

    fn layer(&self) -> SessionManagerLayer<MemoryStore> {
        SessionManagerLayer::new(self.store.clone())
            .with_name(COOKIE)
            .with_expiry(Expiry::OnInactivity(Duration::hours(2)))
    }
}

impl Peer for Contender {
    fn name(&self) -> &str {
        match self.key {
            None => "tower-sessions plain",
            Some(_) => "tower-sessions private",
        }
    }

    fn seed(&self, size: Size) -> String {
        match self.key.clone() {
            None => seed(self.layer(), size),
            Some(key) => seed(self.layer().with_private(key), size),
        }
    }

    fn call(&self, job: Job, visitors: Visitors) -> Call {
        match self.key.clone() {
            None => call(self.layer(), job, visitors),
            Some(key) => call(self.layer().with_private(key), job, visitors),
        }
    }

    fn raw(&self, visitors: Visitors) -> Call {
        super::tower_raw(visitors)
    }
}

fn seed<C: CookieController>(layer: SessionManagerLayer<MemoryStore, C>, size: Size) -> String {
    super::tower_seed(
        layer.layer(service_fn(move |request: Request<Body>| async move {
            let session = session(&request);
            for (key, value) in size.entries() {
                session
                    .insert_value(key, value)
                    .await
                    .expect("a new session takes data");
            }
            HandlerResult::Ok(request::response())
        })),
    )
}

fn call<C: CookieController>(
    layer: SessionManagerLayer<MemoryStore, C>,
    job: Job,
    visitors: Visitors,
) -> Call {
    match job {
        Job::Ignore => super::tower_call(layer.layer(service_fn(ignore)), visitors),
        Job::Read => super::tower_call(layer.layer(service_fn(read)), visitors),
        Job::Increment => super::tower_call(layer.layer(service_fn(increment)), visitors),
    }
}

fn session(request: &Request<Body>) -> Session {
    request
        .extensions()
        .get::<Session>()
        .expect("the layer gives a session")
        .clone()
}

async fn read_counter(session: &Session) -> i64 {
    session
        .get(COUNTER)
        .await
        .expect("the store answers")
        .unwrap_or_default()
}

async fn ignore(request: Request<Body>) -> HandlerResult {
    drop(request);
    Ok(request::response())
}

async fn read(request: Request<Body>) -> HandlerResult {
    request::set_seen(read_counter(&session(&request)).await);
    Ok(request::response())
}

async fn increment(request: Request<Body>) -> HandlerResult {
    let session = session(&request);
    let next = read_counter(&session).await + 1;
    session
        .insert(COUNTER, next)
        .await
        .expect("the store answers");
    request::set_seen(next);
    Ok(request::response())
}
