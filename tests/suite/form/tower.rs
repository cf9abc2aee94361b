//! `Forms` as a tower layer.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_session::{
    SessionExt, Sessions,
    form::{FormBody, Forms, Input, InputLimits, ValidationErrors},
    store::MemoryStore,
};
use serde_json::{Value, json};
use tower_layer::Layer;
use tower_service::Service;

use crate::support::{Jar, config};

type Body = Full<Bytes>;

/// A service like axum's. It is cloned for each call, and converts its errors into responses.
#[derive(Clone, Default)]
struct Inner {
    is_ready: bool,
}

impl Service<Request<FormBody<Body>>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<FormBody<Body>>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "poll_ready comes first");
        Box::pin(async move { Ok(handle(request).await) })
    }
}

async fn handle(request: Request<FormBody<Body>>) -> Response<Body> {
    let session = request.session().unwrap().clone();
    session.load().await.unwrap();
    match request.uri().path() {
        "/flash" => {
            let flashed: Value = session.flash_messages().unwrap().all().unwrap();
            Response::new(flashed.to_string().into())
        }
        "/token" => Response::new(session.csrf_token().unwrap().into()),
        _ => match Input::from_request(request, &InputLimits::default()).await {
            Ok(_) => ValidationErrors::new()
                .with_error("title", "no")
                .into_response(),
            Err(error) => error.into_response(),
        },
    }
}

async fn send<S, Out>(
    service: &mut S,
    jar: &mut Jar,
    path: &str,
    body: Option<String>,
) -> Response<Bytes>
where
    S: Service<Request<Body>, Response = Response<Out>, Error = Infallible>,
    Out: http_body::Body<Data = Bytes>,
    Out::Error: std::fmt::Debug,
{
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(body.unwrap_or_default()))
        .unwrap();
    jar.add_to(request.headers_mut());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let (head, body) = service.call(request).await.unwrap().into_parts();
    jar.take_from(&head.headers);
    let body = http_body_util::BodyExt::collect(body).await.unwrap();
    Response::from_parts(head, body.to_bytes())
}

#[tokio::test]
async fn errors_in_a_response_lead_back_and_tokens_are_checked() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let forms = Forms::new().csrf_protection();
    let mut service = sessions
        .layer()
        .layer(forms.layer().layer(Inner::default()));
    let mut jar = Jar::default();

    let refused = send(&mut service, &mut jar, "/", Some("title=x".into())).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);

    let token = send(&mut service, &mut jar, "/token", None)
        .await
        .into_body();
    let token = std::str::from_utf8(&token).unwrap();
    let form = format!("title=x&_csrf={token}");
    let answer = send(&mut service, &mut jar, "/", Some(form)).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let flashed = send(&mut service, &mut jar, "/flash", None)
        .await
        .into_body();
    let flashed: Value = serde_json::from_slice(&flashed).unwrap();
    assert_eq!(flashed["title"], "x");
    assert_eq!(flashed["errors"], json!({"title": ["no"]}));

    let broken = format!("title=%ff&_csrf={token}");
    let answer = send(&mut service, &mut jar, "/", Some(broken)).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_layer_outside_of_the_sessions_says_so() {
    let mut service = Forms::new().layer().layer(Inner::default());
    let answer = send(&mut service, &mut Jar::default(), "/", None).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
