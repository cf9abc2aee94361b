//! Sessions as a tower layer.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_session::{
    SessionExt, Sessions,
    service::{ErrorPages, Messages},
    store::MemoryStore,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::support::{Call, Jar, config, test_server};

/// A tower service that requires `poll_ready` before each call and counts visits.
#[derive(Clone, Default)]
struct Inner {
    is_ready: bool,
}

impl Service<Request<()>> for Inner {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "poll_ready comes first");
        // The memory store is synchronous, so the first poll loads the session.
        let session = request.session().unwrap().clone();
        let mut load = std::pin::pin!(session.load());
        let waker = std::task::Waker::noop();
        assert!(
            load.as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_ready()
        );
        let visits = session.increment("visits").unwrap();
        let mut response = Response::new(Empty::new());
        let visits = visits.to_string().parse().unwrap();
        response.headers_mut().insert("x-visits", visits);
        ready(Ok(response))
    }
}

#[tokio::test]
async fn a_layer_gives_every_request_of_a_tower_service_its_session() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let mut service = sessions.layer().layer(Inner::default());
    let mut jar = Jar::default();
    for visits in 1..=3 {
        let mut request = Request::new(());
        jar.add_to(request.headers_mut());
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.headers()["x-visits"], visits.to_string());
        jar.take_from(response.headers());
    }
}

#[tokio::test]
async fn clones_of_a_layer_share_their_sessions() {
    let layer = Sessions::new(config(), MemoryStore::new()).unwrap().layer();
    let mut jar = Jar::default();
    for (visits, layer) in [(1, layer.clone()), (2, layer)] {
        let mut service = layer.layer(Inner::default());
        let mut request = Request::new(());
        jar.add_to(request.headers_mut());
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.headers()["x-visits"], visits.to_string());
        jar.take_from(response.headers());
    }
}

#[tokio::test]
async fn error_pages_are_a_layer_outside_of_the_sessions() {
    let setup = test_server(config());
    let pages = ErrorPages::new(|failure| {
        let text = failure.message(&Messages::default());
        Some(Response::new(text))
    });
    let sessions = setup.sessions.layer();
    let mut service = pages.layer().layer(sessions.layer(Inner::default()));
    let mut jar = Jar::default();
    for (fails, status) in [(false, 200), (true, 503), (false, 200)] {
        let mut request = Request::new(());
        jar.add_to(request.headers_mut());
        if fails {
            setup.store.fail(Call::Write);
        }
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), status);
        jar.take_from(response.headers());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), !fails, "{body:?}");
    }
}
