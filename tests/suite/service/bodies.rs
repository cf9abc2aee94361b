//! Request and response bodies of many types, over HTTP/1 and HTTP/2, in each kind of service.

use std::{convert::Infallible, fmt::Debug, pin::Pin};

use axum::{
    Form, Json,
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
    routing::any,
};
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{
    BodyExt, Either, Empty, Full, Limited, StreamBody,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_session::{Session, SessionError, SessionExt, Sessions, store::MemoryStore};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
    service::TowerToHyperService,
};
use serde_json::Value;
use tower_layer::Layer;

use crate::support::{
    Jar, config,
    net::{Server, serve},
};

const LARGE: usize = 200_000;

type FrameStream = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// Returns a stream of the text in many frames.
fn frames(text: Bytes) -> FrameStream {
    let chunks: Vec<Bytes> = text.chunks(1000).map(Bytes::copy_from_slice).collect();
    Box::pin(stream::iter(chunks).map(|chunk| Ok(Frame::data(chunk))))
}

/// Returns a stream that ends with a trailer.
fn frames_with_trailer(text: Bytes) -> FrameStream {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "12".parse().unwrap());
    Box::pin(frames(text).chain(stream::iter([Ok(Frame::trailers(trailers))])))
}

/// A type of response body.
trait ResponseBody:
    Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Sized + 'static
{
    fn from_bytes(bytes: Bytes) -> Self;
}

impl ResponseBody for Full<Bytes> {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl ResponseBody for String {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::from_utf8(bytes.to_vec()).unwrap()
    }
}

impl ResponseBody for Either<Full<Bytes>, Empty<Bytes>> {
    fn from_bytes(bytes: Bytes) -> Self {
        match bytes.is_empty() {
            false => Self::Left(Full::new(bytes)),
            true => Self::Right(Empty::new()),
        }
    }
}

impl ResponseBody for StreamBody<FrameStream> {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(frames(bytes))
    }
}

impl ResponseBody for Limited<Full<Bytes>> {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes), LARGE)
    }
}

impl ResponseBody for BoxBody<Bytes, Infallible> {
    fn from_bytes(bytes: Bytes) -> Self {
        Full::new(bytes).boxed()
    }
}

impl ResponseBody for UnsyncBoxBody<Bytes, Infallible> {
    fn from_bytes(bytes: Bytes) -> Self {
        StreamBody::new(frames_with_trailer(bytes)).boxed_unsync()
    }
}

/// Counts the visit and returns the request's body in a body of type `Out`.
async fn echo<In, Out>(request: Request<In>, session: Session) -> Response<Out>
where
    In: Body<Error: Debug>,
    Out: ResponseBody,
{
    let body = request.into_body().collect().await.unwrap();
    let has_trailer = body.trailers().is_some();
    let count = session.load().await.unwrap().increment("n").unwrap();
    let mut response = Response::new(Out::from_bytes(body.to_bytes()));
    let headers = response.headers_mut();
    headers.insert("x-n", count.to_string().parse().unwrap());
    headers.insert("x-trailer", has_trailer.to_string().parse().unwrap());
    response
}

/// Echoes in a service that has its session in the extensions.
async fn echo_extension<In, Out>(request: Request<In>) -> Result<Response<Out>, Infallible>
where
    In: Body<Error: Debug>,
    Out: ResponseBody,
{
    let session = request.session().unwrap().clone();
    Ok(echo(request, session).await)
}

/// A tower service that echoes.
struct TowerEcho<Out>(std::marker::PhantomData<fn() -> Out>);

impl<Out> Clone for TowerEcho<Out> {
    fn clone(&self) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<In, Out> tower_service::Service<Request<In>> for TowerEcho<Out>
where
    In: Body<Data: Send, Error: Debug> + Send + 'static,
    Out: ResponseBody,
{
    type Response = Response<Out>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Out>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        Box::pin(echo_extension(request))
    }
}

/// Starts one server for each kind of service.
async fn servers<Out: ResponseBody>(sessions: &Sessions) -> [(&'static str, Server); 3] {
    let wrapped = sessions.wrap(service_fn(echo_extension::<Incoming, Out>));
    let function = async |request: Request<Incoming>, session: Session| {
        Ok::<_, Infallible>(echo::<_, Out>(request, session).await)
    };
    let layered = sessions
        .layer()
        .layer(TowerEcho::<Out>(std::marker::PhantomData));
    [
        ("wrap", serve(std::sync::Arc::new(wrapped)).await),
        (
            "wrap_fn",
            serve(std::sync::Arc::new(sessions.wrap_fn(function))).await,
        ),
        ("tower", serve(TowerToHyperService::new(layered)).await),
    ]
}

async fn axum_server(sessions: &Sessions) -> Server {
    let handler = async |session: axum::Extension<Session>, request: axum::extract::Request| {
        echo::<_, axum::body::Body>(request, session.0).await
    };
    let app = axum::Router::new()
        .route("/json", any(json))
        .route("/form", any(form))
        .route("/bytes", any(bytes))
        .route("/text", any(text))
        .route("/stream", any(streamed))
        .route("/events", any(events))
        .route("/empty", any(empty))
        .fallback(handler)
        .layer(sessions.layer());
    serve(TowerToHyperService::new(app)).await
}

/// The response of an axum handler, or the error of its session.
type Counted<R> = Result<([(&'static str, String); 1], R), SessionError>;

/// Counts the visit, and adds the count to a response of axum.
fn counted<R: IntoResponse>(session: &Session, response: R) -> Counted<R> {
    Ok(([("x-n", session.increment("n")?.to_string())], response))
}

async fn json(session: Session, Json(value): Json<Value>) -> Counted<Json<Value>> {
    counted(&session, Json(value))
}

async fn form(session: Session, Form(pairs): Form<Pairs>) -> Counted<Form<Pairs>> {
    counted(&session, Form(pairs))
}

async fn bytes(session: Session, body: Bytes) -> Counted<Bytes> {
    counted(&session, body)
}

async fn text(session: Session, body: String) -> Counted<String> {
    counted(&session, body)
}

/// Responds with the request's stream, chunk by chunk.
async fn streamed(session: Session, body: axum::body::Body) -> Counted<axum::body::Body> {
    let chunks = axum::body::Body::from_stream(body.into_data_stream());
    counted(&session, chunks)
}

async fn events(
    session: Session,
    body: String,
) -> Counted<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let lines: Vec<String> = body.lines().map(str::to_owned).collect();
    let events = lines
        .into_iter()
        .map(|line| Ok(Event::default().data(line)));
    counted(&session, Sse::new(stream::iter(events)))
}

async fn empty(session: Session) -> Counted<StatusCode> {
    counted(&session, StatusCode::NO_CONTENT)
}

type Pairs = Vec<(String, String)>;

/// The handlers of axum, each with the type and the bytes of a request's body, and the response's bytes.
fn exchanges() -> [(&'static str, &'static str, Bytes, Bytes); 7] {
    let large = "y".repeat(LARGE);
    let (json, form) = (format!("{{\"a\":\"{large}\"}}"), format!("a={large}&b=1"));
    let events: String = ["a", "b"].map(|line| format!("data: {line}\n\n")).concat();
    let same = |path, content_type, text: String| {
        let bytes = Bytes::from(text);
        (path, content_type, bytes.clone(), bytes)
    };
    [
        same("/json", "application/json", json),
        same("/form", "application/x-www-form-urlencoded", form),
        same("/bytes", "application/octet-stream", large.clone()),
        same("/text", "text/plain", large.clone()),
        same("/stream", "application/octet-stream", large),
        (
            "/events",
            "text/plain",
            Bytes::from("a\nb\n"),
            events.into(),
        ),
        ("/empty", "text/plain", Bytes::from("ignored"), Bytes::new()),
    ]
}

/// Returns the body types in which a client sends bytes.
fn client_bodies(bytes: &Bytes) -> [ClientBody; 3] {
    [
        Full::new(bytes.clone()).boxed_unsync(),
        StreamBody::new(frames(bytes.clone())).boxed_unsync(),
        StreamBody::new(frames_with_trailer(bytes.clone())).boxed_unsync(),
    ]
}

impl ResponseBody for axum::body::Body {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::from_stream(frames(bytes).map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    }
}

type ClientBody = UnsyncBoxBody<Bytes, Infallible>;

fn client(is_http2: bool) -> Client<HttpConnector, ClientBody> {
    Client::builder(TokioExecutor::new())
        .http2_only(is_http2)
        .build_http()
}

/// The bodies that a client sends, with their bytes.
fn request_bodies() -> Vec<(&'static str, ClientBody, Bytes)> {
    let large = Bytes::from("y".repeat(LARGE));
    vec![
        ("empty", Empty::new().boxed_unsync(), Bytes::new()),
        (
            "of known length",
            Full::new(large.clone()).boxed_unsync(),
            large.clone(),
        ),
        (
            "of unknown length",
            StreamBody::new(frames(large.clone())).boxed_unsync(),
            large.clone(),
        ),
        (
            "with trailers",
            StreamBody::new(frames_with_trailer(large.clone())).boxed_unsync(),
            large,
        ),
    ]
}

/// Sends every kind of request body, over HTTP/1 and HTTP/2. Each is one visit of one visitor.
async fn visit(case: &str, server: &Server) {
    for is_http2 in [false, true] {
        let client = client(is_http2);
        let mut jar = Jar::default();
        for (visits, (kind, body, bytes)) in (1..).zip(request_bodies()) {
            let case = format!("{case}, a body {kind}, HTTP/2: {is_http2}");
            let mut request = Request::post(format!("http://{}/", server.address));
            jar.add_to(request.headers_mut().unwrap());
            let response = client.request(request.body(body).unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{case}");
            assert_eq!(response.headers()["x-n"], visits.to_string(), "{case}");
            if is_http2 {
                let has_trailer = (kind == "with trailers").to_string();
                assert_eq!(response.headers()["x-trailer"], has_trailer, "{case}");
            }
            jar.take_from(response.headers());
            let body = response.into_body().collect().await.unwrap();
            if is_http2 && case.starts_with("a response with a trailer") {
                assert_eq!(body.trailers().unwrap()["x-sum"], "12", "{case}");
            }
            assert!(body.to_bytes() == bytes, "{case}");
        }
    }
}

async fn exchange<Out: ResponseBody>(kind: &str) {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    for (service, server) in servers::<Out>(&sessions).await {
        visit(&format!("{kind}, {service}"), &server).await;
    }
}

#[tokio::test]
async fn every_response_body_passes_every_service() {
    exchange::<Full<Bytes>>("a whole response").await;
    exchange::<String>("a response of text").await;
    exchange::<Either<Full<Bytes>, Empty<Bytes>>>("a response of two types").await;
    exchange::<StreamBody<FrameStream>>("a stream").await;
    exchange::<Limited<Full<Bytes>>>("a limited response").await;
    exchange::<BoxBody<Bytes, Infallible>>("a boxed response").await;
    exchange::<UnsyncBoxBody<Bytes, Infallible>>("a response with a trailer").await;
}

#[tokio::test]
async fn every_body_passes_a_router_of_axum() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let server = axum_server(&sessions).await;
    visit("axum", &server).await;
}

#[tokio::test]
async fn every_extractor_and_response_of_axum_passes_the_layer() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let server = axum_server(&sessions).await;
    for is_http2 in [false, true] {
        let client = client(is_http2);
        let (mut jar, mut visits) = (Jar::default(), 0);
        for (path, content_type, sent, expected) in exchanges() {
            for (nth, body) in client_bodies(&sent).into_iter().enumerate() {
                let case = format!("{path}, body {nth}, HTTP/2: {is_http2}");
                let request = Request::post(format!("http://{}{path}", server.address));
                let mut request = request.header("content-type", content_type);
                jar.add_to(request.headers_mut().unwrap());
                let response = client.request(request.body(body).unwrap()).await.unwrap();
                assert!(
                    response.status().is_success(),
                    "{case}: {}",
                    response.status()
                );
                visits += 1;
                assert_eq!(response.headers()["x-n"], visits.to_string(), "{case}");
                jar.take_from(response.headers());
                let body = response.into_body().collect().await.unwrap();
                assert!(body.to_bytes() == expected, "{case}");
            }
        }
    }
}

/// Calls both kinds of hyper service and the tower service without a connection.
async fn call<In>(body: impl Fn() -> In, bytes: &[u8])
where
    In: Body<Data: Buf + Send, Error: Debug> + Send + 'static,
{
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let wrapped = sessions.wrap(service_fn(echo_extension::<In, Full<Bytes>>));
    let function = sessions.wrap_fn(async |request: Request<In>, session: Session| {
        Ok::<_, Infallible>(echo::<In, Full<Bytes>>(request, session).await)
    });
    let tower = TowerEcho::<Full<Bytes>>(std::marker::PhantomData);
    let layered = TowerToHyperService::new(sessions.layer().layer(tower));
    let responses = [
        wrapped.call(Request::new(body())).await.unwrap(),
        function.call(Request::new(body())).await.unwrap(),
        layered.call(Request::new(body())).await.unwrap(),
    ];
    for response in responses {
        assert_eq!(response.headers()["x-n"], "1");
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            bytes
        );
    }
}

#[tokio::test]
async fn every_request_body_is_accepted_without_a_connection() {
    let text = Bytes::from("a body");
    call(Empty::<Bytes>::new, b"").await;
    call(|| Full::new(text.clone()), &text).await;
    call(|| "a body".to_owned(), &text).await;
    call(|| StreamBody::new(frames(text.clone())), &text).await;
    call(|| Full::new(text.clone()).boxed_unsync(), &text).await;
    call(|| axum::body::Body::from(text.clone()), &text).await;
    call(
        || Full::new(std::collections::VecDeque::from(*b"a body")),
        &text,
    )
    .await;
}
