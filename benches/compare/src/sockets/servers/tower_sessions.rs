//! tower-sessions with its memory store and a plain or encrypted cookie, and with its Redis store.

use std::env;

use http::{Request, Response};
use time::Duration;
use tower::{Layer, ServiceExt, service_fn};
use tower_sessions::{
    Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore, cookie::Key,
    service::CookieController,
};
use tower_sessions_redis_store::fred::{
    clients::Pool, interfaces::ClientLike, types::Builder, types::config::Config,
};

use crate::{
    document::{COUNTER, Size},
    job::Job,
    request::{Body, COOKIE},
    server::{HandlerResult, response, serve_hyper},
};

pub(super) fn plain() {
    serve(layer(MemoryStore::default()));
}

pub(super) fn private() {
    serve(layer(MemoryStore::default()).with_private(Key::generate()));
}

fn layer<T: SessionStore>(store: T) -> SessionManagerLayer<T> {
    SessionManagerLayer::new(store)
        .with_name(COOKIE)
        .with_expiry(Expiry::OnInactivity(Duration::hours(2)))
}

fn serve<T: SessionStore + Clone, C: CookieController + Sync>(layer: SessionManagerLayer<T, C>) {
    let service = layer.layer(service_fn(answer));
    serve_hyper(async {
        hyper::service::service_fn(move |request: Request<Body>| service.clone().oneshot(request))
    });
}

/// Implements the handler for one version of tower-sessions.
macro_rules! answer {
    ($name:ident, $session:ty) => {
        async fn $name(request: Request<Body>) -> HandlerResult {
            let job = Job::of(request.uri().path());
            if job == Job::Untouched {
                return Ok(response(None));
            }
            let session = request.extensions().get::<$session>().cloned();
            let session = session.expect("the layer gives a session");
            drop(request);
            if job == Job::Seed {
                for (key, value) in Size::Small.entries() {
                    let inserted = session.insert_value(key, value).await;
                    inserted.expect("a new session takes data");
                }
                return Ok(response(None));
            }
            let number: Option<i64> = session.get(COUNTER).await.expect("the store answers");
            let mut number = number.unwrap_or_default();
            if job == Job::Increment {
                number += 1;
                let inserted = session.insert(COUNTER, number).await;
                inserted.expect("the store answers");
            }
            Ok(response(Some(number)))
        }
    };
}

answer!(answer, Session);
// The version that the Redis store requires.
answer!(answer_with_redis, tower_sessions_014::Session);

pub(super) fn redis() {
    serve_hyper(async {
        let url = env::var("REDIS_URL").expect("the benchmark sets it");
        let config = Config::from_url(&url).expect("the address is valid");
        let pool: Pool = Builder::from_config(config)
            .build_pool(2)
            .expect("the settings are right");
        pool.init().await.expect("the server answers");
        let store = tower_sessions_redis_store::RedisStore::new(pool);
        let expiry = tower_sessions_014::Expiry::OnInactivity(Duration::hours(2));
        let layer = tower_sessions_014::SessionManagerLayer::new(store)
            .with_name(COOKIE)
            .with_expiry(expiry);
        let service = layer.layer(service_fn(answer_with_redis));
        hyper::service::service_fn(move |request: Request<Body>| {
            let service = service.clone();
            async move {
                let response: Response<Body> = service.oneshot(request).await?;
                HandlerResult::Ok(response)
            }
        })
    });
}
