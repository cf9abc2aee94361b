//! Services that several session layers wrap.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::SET_COOKIE};
use http_body_util::Empty;
use hyper::service::{Service, service_fn};
use hyper_session::{Session, SessionExt, Sessions, service::SessionLayerConflict};

use super::completion::panic_of_next_poll;
use crate::support::{Call, Jar, TestServer, config, test_server};

type HandlerResult = Result<Response<Empty<Bytes>>, Infallible>;

/// Increments a counter and returns it in a header.
async fn count(session: &Session) -> HandlerResult {
    let mut response = Response::new(Empty::new());
    if let Ok(session) = session.load().await {
        let n = session.increment("n").unwrap().to_string();
        response.headers_mut().insert("x-n", n.parse().unwrap());
    }
    Ok(response)
}

async fn count_extension(request: Request<Empty<Bytes>>) -> HandlerResult {
    count(request.session().unwrap()).await
}

async fn count_argument(_: Request<Empty<Bytes>>, session: Session) -> HandlerResult {
    count(&session).await
}

/// Sends three requests of one new visitor. Each must be stored once.
async fn visit_thrice<S, B>(server: &TestServer, service: S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let mut jar = Jar::default();
    for n in 1..=3 {
        let mut request = Request::new(Empty::new());
        jar.add_to(request.headers_mut());
        let response = service.call(request).await.unwrap();
        assert_eq!(response.headers()["x-n"], n.to_string());
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 1);
        jar.take_from(response.headers());
    }
    assert_eq!(server.events.with_name("committed").len(), 3);
}

#[tokio::test]
async fn a_service_that_is_wrapped_twice_has_one_session() {
    let server = test_server(config());
    let sessions = &server.sessions;
    visit_thrice(
        &server,
        sessions.wrap(sessions.wrap(service_fn(count_extension))),
    )
    .await;
    server.events.clear();
    let clone = sessions.clone();
    visit_thrice(
        &server,
        clone.wrap(sessions.wrap(sessions.wrap(service_fn(count_extension)))),
    )
    .await;
}

#[tokio::test]
async fn a_function_in_a_wrapped_service_gets_the_session_of_the_service() {
    let server = test_server(config());
    let sessions = &server.sessions;
    visit_thrice(&server, sessions.wrap(sessions.wrap_fn(count_argument))).await;
}

#[tokio::test]
async fn a_function_can_pass_its_session_on() {
    let server = test_server(config());
    let inner = server.sessions.wrap(service_fn(count_extension));
    let function = |mut request: Request<Empty<Bytes>>, session: Session| {
        request.extensions_mut().insert(session);
        inner.call(request)
    };
    visit_thrice(&server, server.sessions.wrap_fn(function)).await;
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn a_tower_service_with_two_layers_has_one_session() {
    use tower_layer::Layer;

    #[derive(Clone)]
    struct Inner;
    impl tower_service::Service<Request<Empty<Bytes>>> for Inner {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = std::pin::Pin<Box<dyn Future<Output = HandlerResult>>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
            Box::pin(count_extension(request))
        }
    }
    let server = test_server(config());
    let layer = server.sessions.layer();
    let layered = layer.layer(layer.layer(Inner));
    let service =
        service_fn(move |request| tower_service::Service::call(&mut layered.clone(), request));
    visit_thrice(&server, service).await;
}

#[tokio::test]
async fn the_outer_layer_replaces_the_response_if_the_session_cannot_be_loaded() {
    let server = test_server(config());
    let sessions = &server.sessions;
    let service = sessions.wrap(sessions.wrap(service_fn(count_extension)));
    let first = service.call(Request::new(Empty::new())).await.unwrap();
    let mut jar = Jar::default();
    jar.take_from(first.headers());
    let mut request = Request::new(Empty::new());
    jar.add_to(request.headers_mut());
    server.store.fail(Call::Read);
    let response = service.call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

async fn assert_conflict<B>(
    server: &TestServer,
    service: impl Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
) {
    let response = service.call(Request::new(Empty::new())).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let conflict = response.extensions().get::<SessionLayerConflict>().unwrap();
    assert_eq!(
        conflict.to_string(),
        "cookie `session` is used by two session layers around one service; use one `Sessions`, or \
         set another `cookie_name`"
    );
    let events = server.events.with_name("layer_conflict");
    assert_eq!(events[0].text, "session");
    assert!(server.events.with_name("committed").is_empty());
    let future = service.call(Request::new(Empty::new()));
    let expected = "`SessionFuture` polled after completion";
    assert_eq!(panic_of_next_poll(future).await, expected);
}

#[tokio::test]
async fn two_sessions_with_one_cookie_name_are_an_error_of_the_request() {
    let outer = test_server(config()).sessions;
    let server = test_server(config());
    let inner = server.sessions.wrap(service_fn(count_extension));
    assert_conflict(&server, outer.wrap(inner)).await;
    let inner = server.sessions.wrap_fn(count_argument);
    assert_conflict(&server, outer.wrap(inner)).await;
}

#[tokio::test]
async fn two_sessions_with_two_cookie_names_are_two_sessions() {
    let outer: Sessions = test_server(config().cookie_name("outer")).sessions;
    let server = test_server(config());
    let service = outer.wrap(server.sessions.wrap(service_fn(count_extension)));
    let response = service.call(Request::new(Empty::new())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
}
