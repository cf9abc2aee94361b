//! The part of the full run with forms, CSRF checks and error pages.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    CookieStore, MemoryStore, Session,
    form::{FormBody, Forms, Input, InputLimits, ValidationErrors},
    service::ErrorPages,
    testing::{StoreCall, TestClient, TestStore},
};
use serde_json::json;

use crate::full_run::{Capture, VALUE, build, config};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Stores what `/large` asks for. Rejects any other input, with an error that repeats it.
async fn app(
    request: Request<FormBody<Incoming>>,
    session: Session,
    capture: Capture,
) -> Result<Response<Full<Bytes>>, BoxError> {
    session.load().await?;
    if request.uri().path() == "/large" {
        session.put("large", VALUE.repeat(1000))?;
        return Ok(Response::default());
    }
    let limits = InputLimits::new().fields(5);
    let input = Input::from_request(request, &limits).await;
    let input = input.inspect_err(|error| capture.show_error(error))?;
    capture.show(&input);
    capture.show_failure(input.deserialize::<Vec<u8>>());
    let message = format!("not {}", input.text("name").unwrap_or_default());
    let errors = ValidationErrors::new().with_error("name", message);
    capture.show(&errors);
    Err(errors.into())
}

/// Sends forms with and without the token of their session, and shows each failure.
pub(crate) async fn show_forms(capture: &Capture) {
    let store = TestStore::new(MemoryStore::new());
    let sessions = build(config(), store.clone(), capture);
    let forms = Forms::new().csrf_protection();
    capture.show(&forms);
    let shown = capture.clone();
    let pages = ErrorPages::new(move |failure| {
        shown.show(failure);
        shown.show(&failure.reason());
        None
    });
    let shown = capture.clone();
    let service = forms.wrap_fn(move |request, session| app(request, session, shown.clone()));
    let client = TestClient::new(&sessions, pages.wrap(sessions.wrap_fn(service.clone())));
    let token = async || {
        let token = client.with_session(|session| {
            session.put("data", VALUE)?;
            capture.hide_session(session);
            session.csrf_token()
        });
        token.await
    };
    let other = client.new_visitor();
    let other = other.with_session(|session| {
        capture.hide_session(session);
        session.csrf_token()
    });
    let (token, other) = (token().await, other.await);
    capture.hide(client.cookie("session").unwrap());
    for token in ["", &other, VALUE] {
        let fields = [("_csrf", token), ("name", VALUE), ("password", VALUE)];
        let answer = client.post("/?q=1").form(fields);
        let answer = answer.header("x-csrf-token", token).send().await;
        answer.assert_status(403);
    }
    let fields = [("_csrf", &*token), ("name", VALUE), ("password", VALUE)];
    client
        .post("/")
        .form(fields)
        .send()
        .await
        .assert_status(303);
    client
        .with_session(|session| {
            let flashed = session.flash_messages()?;
            assert_eq!(flashed.get::<String>("name")?.as_deref(), Some(VALUE));
            capture.show(session);
            capture.show(&flashed);
            Ok(())
        })
        .await;
    let json = client
        .post("/")
        .header("accept", "application/json")
        .json(&json!({"name": VALUE, "_csrf": token}));
    json.send().await.assert_status(422);
    for (kind, body) in [
        ("application/json", format!("{{\"{VALUE}\": {VALUE}}}")),
        (
            "application/x-www-form-urlencoded",
            format!("{VALUE}=1&").repeat(6),
        ),
        ("multipart/form-data; boundary=b", format!("--b\r\n{VALUE}")),
        ("text/plain", VALUE.to_owned()),
    ] {
        let answer = client.post("/").header("content-type", kind).body(body);
        let answer = answer.header("x-csrf-token", &token).send().await;
        assert!(answer.status().is_client_error(), "{kind}: {answer:?}");
    }
    store.fail(StoreCall::Read);
    let failed = client.post("/").header("x-csrf-token", &token);
    failed.send().await.assert_status(503);
    let cookies = build(config(), CookieStore::new(), capture);
    let client = TestClient::new(&cookies, pages.wrap(cookies.wrap_fn(service)));
    let token = client.with_session(Session::csrf_token).await;
    let large = client.post("/large").header("x-csrf-token", &token);
    large.send().await.assert_status(500);
}
