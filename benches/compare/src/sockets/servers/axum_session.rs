//! axum_session without a database, so with sessions in memory.

use axum_session::{Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use http::Request;
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    document::{COUNTER, Size},
    job::Job,
    request::{Body, COOKIE},
    server::{HandlerResult, response, serve_hyper},
};

pub(super) fn serve() {
    serve_hyper(async {
        let config = SessionConfig::default().with_session_name(COOKIE);
        let store = SessionStore::<SessionNullPool>::new(None, config).await;
        let store = store.expect("a store without a database has no errors");
        let service = SessionLayer::new(store).layer(service_fn(answer));
        hyper::service::service_fn(move |request: Request<Body>| service.clone().oneshot(request))
    });
}

async fn answer(request: Request<Body>) -> HandlerResult {
    let job = Job::of(request.uri().path());
    let session = request.extensions().get::<Session<SessionNullPool>>();
    let session = session.expect("the layer gives a session").clone();
    drop(request);
    let number = || session.get::<i64>(COUNTER).unwrap_or_default();
    Ok(match job {
        Job::Untouched => response(None),
        Job::Seed => {
            let entries = Size::Small.entries().into_iter();
            entries.for_each(|(key, value)| session.set(key, value));
            response(None)
        }
        Job::Read => response(Some(number())),
        Job::Increment => {
            let next = number() + 1;
            session.set(COUNTER, next);
            response(Some(next))
        }
    })
}
