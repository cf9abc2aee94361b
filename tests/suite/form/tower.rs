//! `Forms` as a tower layer.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionExt,
    form::{FormBody, Forms, Input, InputLimits, ValidationErrors},
    testing::{TestClient, TestSessions},
};
use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

type Body = Full<Bytes>;

/// A service like axum's. It is cloned for each call, and converts its errors into responses.
#[derive(Clone, Default)]
struct Inner {
    is_ready: bool,
}

impl Service<Request<FormBody<Incoming>>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<FormBody<Incoming>>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "poll_ready comes first");
        Box::pin(async move { Ok(handle(request).await) })
    }
}

async fn handle(request: Request<FormBody<Incoming>>) -> Response<Body> {
    let session = request.session().unwrap().clone();
    session.load().await.unwrap();
    match request.uri().path() {
        "/flash" => {
            let flashed: Value = session.flash_messages().unwrap().all().unwrap();
            Response::new(flashed.to_string().into())
        }
        _ => match Input::from_request(request, &InputLimits::default()).await {
            Ok(_) => ValidationErrors::new()
                .with_error("title", "no")
                .into_response(),
            Err(error) => error.into_response(),
        },
    }
}

#[tokio::test]
async fn errors_in_a_response_lead_back_and_tokens_are_checked() {
    let test = TestSessions::new();
    let forms = Forms::new().csrf_protection().layer();
    let service = test.sessions().layer().layer(forms.layer(Inner::default()));
    let client = TestClient::tower(test.sessions(), service);

    let form = client.post("/").form([("title", "x")]);
    form.send().await.assert_status(403);

    let token = &*client.with_session(Session::csrf_token).await;
    let form = client.post("/").form([("title", "x"), ("_csrf", token)]);
    let answer = form.send().await;
    answer
        .assert_status(303)
        .assert_flash("title", "x")
        .assert_validation_error("title", "no");
    let flashed: Value = client.get("/flash").send().await.json();
    assert_eq!(flashed["title"], "x");

    let broken = format!("title=%ff&_csrf={token}");
    let form = client.post("/").body(broken);
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    form.send().await.assert_status(400);
}

#[tokio::test]
async fn a_layer_outside_of_the_sessions_says_so() {
    let test = TestSessions::new();
    let service = Forms::new().layer().layer(Inner::default());
    let client = TestClient::tower(test.sessions(), service);
    client.get("/").send().await.assert_status(500);
}
