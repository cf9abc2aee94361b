//! Sessions in axum: extractors, rejections, and errors as responses.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::{FromRequestParts, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response, Result},
    routing::{get, post},
};
use http::{StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::service::Service;
use hyper_session::{
    CookieStore, Session, SessionError, SessionExt, Sessions, Typed,
    form::{Forms, Input, ValidationErrors},
    service::{MissingSessionLayer, ReadOnlySession, UnloadedSession},
    session::ReadOnlyReason,
    testing::{TestClient, TestResponse, TestSessions},
};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Call, Jar, TestServer, config, test_server};

const DAY: Duration = Duration::from_secs(24 * 3600);

type Client = TestClient<TowerToHyperService<Router>>;

async fn count(session: Session) -> Result<String, SessionError> {
    Ok(session.increment("n")?.to_string())
}

async fn phase(session: Session) -> String {
    format!("{} {}", session.is_loaded(), session.is_read_only())
}

fn app() -> Router {
    Router::new()
        .route("/count", get(count))
        .route("/loaded", get(phase))
        .route(
            "/unloaded",
            get(|UnloadedSession(session): UnloadedSession| phase(session)),
        )
        .route(
            "/read_only",
            get(|ReadOnlySession(session): ReadOnlySession| phase(session)),
        )
        .route(
            "/optional",
            get(async |session: Option<Session>| session.is_some().to_string()),
        )
}

#[tokio::test]
async fn handlers_take_the_session_loaded_unloaded_and_read_only() {
    let setup = test_server(config());
    let client = TestClient::tower(&setup.sessions, app().layer(setup.sessions.layer()));
    for n in ["1", "2", "3"] {
        assert_eq!(client.get("/count").send().await.text(), n);
    }
    setup.store.calls();
    assert_eq!(client.get("/unloaded").send().await.text(), "false false");
    assert_eq!(setup.store.calls(), []);
    assert_eq!(client.get("/loaded").send().await.text(), "true false");
    assert_eq!(client.get("/read_only").send().await.text(), "true true");
    assert_eq!(client.get("/optional").send().await.text(), "true");
    assert_eq!(setup.store.calls(), [Call::Read; 3]);
}

#[tokio::test]
async fn a_handler_remembers_its_visitor() {
    let setup = test_server(config());
    let remember = async |session: Session| {
        session.put("user", 7)?;
        session.set_max_age(30 * DAY)
    };
    let times = async |session: Session| {
        let (seen, end) = (session.last_seen()?, session.expires_at()?);
        Ok::<_, SessionError>(end.duration_since(seen).as_secs().to_string())
    };
    let refused = async |session: Session| session.set_max_age(Duration::ZERO);
    let app = Router::new()
        .route("/remember", get(remember))
        .route("/times", get(times))
        .route("/refused", get(refused))
        .route("/other", get(async || "no session"));
    let client = TestClient::tower(&setup.sessions, app.layer(setup.sessions.layer()));
    assert_eq!(client.get("/times").send().await.text(), "7200");
    client.get("/remember").send().await;
    setup.advance(29 * DAY);
    let renewed = client.get("/other").send().await;
    let cookie = renewed.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("; Max-Age=2592000;"), "{cookie}");
    setup.advance(29 * DAY);
    assert_eq!(client.get("/times").send().await.text(), "2592000");
    let refused = client.get("/refused").send().await;
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn the_error_of_a_missing_layer_names_the_way_of_hyper_and_of_tower() {
    let request = http::Request::new(());
    let error = request.session().unwrap_err();
    assert_eq!(
        error.to_string(),
        "request has no session; under hyper, wrap the service with `Sessions::wrap`; under tower or axum, add the \
         layer `Sessions::layer` outside of the service"
    );
}

#[tokio::test]
async fn without_a_layer_the_rejection_names_the_layer() {
    let test = TestSessions::new();
    let client = TestClient::tower(test.sessions(), app());
    for path in ["/loaded", "/unloaded", "/read_only"] {
        let answer = client.get(path).send().await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            answer.text(),
            "request has no session; add the layer `Sessions::layer` outside of the service"
        );
    }
    assert_eq!(client.get("/optional").send().await.text(), "false");
}

/// Records the errors that responses have in their extensions.
type Errors = Arc<Mutex<Vec<String>>>;

fn record_errors(app: Router) -> (Router, Errors) {
    let errors = Errors::default();
    let log = errors.clone();
    let record = from_fn(move |request: Request, next: Next| {
        let log = log.clone();
        async move {
            let response = next.run(request).await;
            if let Some(error) = response.extensions().get::<SessionError>() {
                log.lock().unwrap().push(error.to_string());
            }
            response
        }
    });
    (app.layer(record), errors)
}

#[tokio::test]
async fn a_session_that_cannot_be_loaded_is_a_503_with_its_error_in_the_extensions() {
    let setup = test_server(config());
    let app = app().layer(setup.sessions.layer());
    let (app, errors) = record_errors(app);
    let client = TestClient::tower(&setup.sessions, app);
    client.get("/count").send().await;
    setup.store.fail_always(Call::Read);
    for path in ["/count", "/read_only", "/optional"] {
        let answer = client.get(path).send().await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert!(answer.bytes().is_empty());
    }
    assert_eq!(
        client.get("/unloaded").send().await.status(),
        StatusCode::OK
    );
    let errors = errors.lock().unwrap();
    assert_eq!(errors.len(), 3);
    assert!(errors[0].contains("store"), "{errors:?}");
}

#[tokio::test]
async fn a_session_that_cannot_be_stored_is_answered_with_its_error_in_the_extensions() {
    let sessions = Sessions::new(config(), CookieStore::new()).unwrap();
    let fill = async |session: Session| session.put("cart", "x".repeat(5000));
    let app = Router::new()
        .route("/fill", get(fill))
        .layer(sessions.layer());
    let (app, errors) = record_errors(app);
    let client = TestClient::tower(&sessions, app);
    let answer = client.get("/fill").send().await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.bytes().is_empty());
    assert!(errors.lock().unwrap()[0].contains("largest keys: `cart`"));
}

/// Handlers and middlewares of one request share its session. The first load decides how it fails.
#[tokio::test]
async fn later_extractors_are_rejected_with_the_error_of_the_first_load() {
    let setup = test_server(config());
    let rejections = Arc::new(Mutex::new(Vec::new()));
    let log = rejections.clone();
    // The middleware is inside of the sessions, so it sees the handler's own response.
    let middleware = from_fn(move |request: Request, next: Next| {
        let log = log.clone();
        async move {
            let (mut head, body) = request.into_parts();
            let first = Session::from_request_parts(&mut head, &()).await;
            let response = next.run(Request::from_parts(head, body)).await;
            let error = response.extensions().get::<SessionError>();
            let error = error.map(ToString::to_string);
            let status = response.status().as_u16();
            log.lock().unwrap().push((first.is_err(), status, error));
            response
        }
    });
    let read = async |UnloadedSession(session): UnloadedSession| session.get::<u8>("n").map(drop);
    let app = app().route("/read", get(read));
    let app = app.layer(middleware).layer(setup.sessions.layer());
    let client = TestClient::tower(&setup.sessions, app);
    client.get("/count").send().await;
    rejections.lock().unwrap().clear();
    for path in ["/count", "/read_only", "/optional", "/read"] {
        setup.store.fail(Call::Read);
        let answer = client.get(path).send().await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    for (failed, status, error) in rejections.lock().unwrap().iter() {
        assert!(*failed);
        assert_eq!(*status, 503, "{error:?}");
        assert!(
            error.as_ref().is_some_and(|it| it.contains("store")),
            "{error:?}"
        );
    }
    assert_eq!(rejections.lock().unwrap().len(), 4);
}

/// A middleware often reads the session that the handler then changes.
#[tokio::test]
async fn a_session_that_was_extracted_for_reading_is_writable_after_the_extractor_for_writing() {
    let setup = test_server(config());
    let both = async |ReadOnlySession(reading): ReadOnlySession, session: Session| {
        let seen: Value = session.flash_messages()?.all()?;
        session.increment("n")?;
        let same = reading.get::<u8>("n")? == session.get("n")?;
        Ok::<_, SessionError>(Json(json!({"same": same, "flash": seen})))
    };
    let flash = async |session: Session| session.flash("m", 1);
    let kept = async |ReadOnlySession(session): ReadOnlySession| {
        let seen: Value = session.flash_messages()?.all()?;
        Ok::<_, SessionError>(Json(seen))
    };
    let reversed = async |session: Session, ReadOnlySession(_): ReadOnlySession| {
        Ok::<_, SessionError>(session.increment("n")?.to_string())
    };
    let app = Router::new()
        .route("/both", get(both))
        .route("/flash", get(flash))
        .route("/kept", get(kept))
        .route("/reversed", get(reversed));
    let client = TestClient::tower(&setup.sessions, app.layer(setup.sessions.layer()));
    client.get("/flash").send().await;
    assert_eq!(
        client.get("/kept").send().await.json::<Value>(),
        json!({"m": 1})
    );
    setup.store.calls();
    let answer = client.get("/both").send().await;
    assert_eq!(
        answer.json::<Value>(),
        json!({"same": true, "flash": {"m": 1}})
    );
    assert_eq!(setup.store.calls(), [Call::Read, Call::Write]);
    assert_eq!(
        client.get("/kept").send().await.json::<Value>(),
        json!({}),
        "taken"
    );
    assert_eq!(client.get("/reversed").send().await.text(), "2");
}

/// The response of the hyper service to a handler whose session fails like this.
async fn hyper_response(setup: &TestServer, jar: &Jar, write: bool) -> http::Response<()> {
    let service = setup
        .sessions
        .wrap_fn(|_: Request<()>, session: Session| async move {
            session.load().await?;
            if write {
                session.put("n", 1)?;
            }
            Ok::<_, SessionError>(http::Response::new(Empty::<bytes::Bytes>::new()))
        });
    let mut request = Request::new(());
    jar.add_to(request.headers_mut());
    let response = service.call(request).await.unwrap();
    let (head, body) = response.into_parts();
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
    http::Response::from_parts(head, ())
}

#[tokio::test]
async fn an_error_that_a_handler_returns_is_answered_as_the_service_answers_it() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    for (call, write) in [(Call::Read, false), (Call::Write, true)] {
        setup.store.fail(call);
        let mut expected = hyper_response(&setup, &browser.jar, write).await;
        let error = expected.extensions_mut().remove::<SessionError>().unwrap();
        let response = error.into_response();
        assert_eq!(response.status(), expected.status());
        assert_eq!(response.headers(), expected.headers());
        assert!(response.extensions().get::<SessionError>().is_some());
        let body = response.into_body().collect().await.unwrap();
        assert!(body.to_bytes().is_empty());
    }
}

#[test]
fn the_status_of_an_error_says_if_a_retry_may_succeed() {
    for (error, status) in [
        (SessionError::NotLoaded, 500),
        (SessionError::ReadOnly(ReadOnlyReason::LoadedReadOnly), 500),
        (SessionError::ReadOnly(ReadOnlyReason::StoreFailed), 503),
        (SessionError::OutcomeUnknown, 503),
        (SessionError::Record("a newer release"), 503),
        (SessionError::ForeignUrl, 500),
    ] {
        assert_eq!(error.status().as_u16(), status, "{error}");
        assert_eq!(error.into_response().status().as_u16(), status);
    }
}

#[derive(Deserialize)]
struct Post {
    title: String,
}

/// Checks and flashes a title. The three kinds of errors need no conversion.
async fn save(session: Session, input: Input) -> Result<String> {
    let post: Post = input.deserialize()?;
    if post.title.is_empty() {
        return Err(ValidationErrors::new()
            .with_error("title", "Give it a title.")
            .into());
    }
    session.flash("saved", &post.title)?;
    Ok(post.title)
}

fn forms_app(forms: Forms, setup: &TestServer) -> Router {
    let token = async |UnloadedSession(session): UnloadedSession| session.csrf_token();
    let flashed = async |session: Session| {
        let flashed: Value = session.flash_messages()?.all()?;
        Ok::<_, SessionError>(Json(flashed))
    };
    Router::new()
        .route("/token", get(token))
        .route("/flashed", get(flashed))
        .route("/save", post(save))
        .route("/form", post(async |Form(post): Form<Post>| post.title))
        .route(
            "/json",
            post(async |Json(post): Json<Value>| post.to_string()),
        )
        .layer(forms.layer())
        .layer(setup.sessions.layer())
}

/// A form whose type rejects unknown fields, and one that has the token as a field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    title: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictWithToken {
    title: String,
    _csrf: String,
}

#[tokio::test]
async fn an_extractor_of_axum_gets_the_token_as_a_field() {
    let test = TestSessions::new();
    let with_token = async |Form(form): Form<StrictWithToken>| form.title;
    let app = Router::new()
        .route("/strict", post(async |Form(form): Form<Strict>| form.title))
        .route("/with_token", post(with_token))
        .layer(Forms::new().csrf_protection().layer())
        .layer(test.sessions().layer());
    let client = TestClient::tower(test.sessions(), app);
    let token = &*client.with_session(Session::csrf_token).await;
    let fields = [("title", "Bread"), ("_csrf", token)];
    let rejected = client.post("/strict").form(fields).send().await;
    rejected.assert_status(422);
    assert!(rejected.text().contains("unknown field `_csrf`"));
    let accepted = client.post("/with_token").form(fields).send().await;
    assert_eq!(accepted.text(), "Bread");
    let form = client.post("/strict").form([("title", "Bread")]);
    let accepted = form.header("x-csrf-token", token).send().await;
    assert_eq!(accepted.text(), "Bread");
}

async fn send(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> TestResponse {
    let mut request = client.post(path).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const ACCEPT_JSON: (&str, &str) = ("accept", "application/json");

#[tokio::test]
async fn form_errors_are_answered_as_under_hyper() {
    let setup = test_server(config());
    let client = TestClient::tower(&setup.sessions, forms_app(Forms::new(), &setup));
    assert_eq!(
        send(&client, "/save", &[FORM], "title=Bread").await.text(),
        "Bread"
    );
    assert_eq!(
        client.get("/flashed").send().await.json::<Value>(),
        json!({"saved": "Bread"})
    );

    let invalid = send(&client, "/save", &[FORM], "title=").await;
    assert_eq!(invalid.status(), StatusCode::SEE_OTHER);
    let errors = json!({"title": ["Give it a title."]});
    assert_eq!(
        client.get("/flashed").send().await.json::<Value>()["errors"],
        errors
    );
    let invalid = send(&client, "/save", &[FORM, ACCEPT_JSON], "title=").await;
    assert_eq!(invalid.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(invalid.json::<Value>()["errors"], errors);
    let missing = send(&client, "/save", &[FORM, ACCEPT_JSON], "a=1").await;
    assert_eq!(missing.status(), StatusCode::UNPROCESSABLE_ENTITY);

    let text = "The request was rejected: malformed input: a field is not valid UTF-8.";
    let malformed = send(&client, "/save", &[FORM], "title=%ff").await;
    assert_eq!(
        (malformed.status(), malformed.text()),
        (StatusCode::BAD_REQUEST, text)
    );
    let malformed = send(&client, "/save", &[FORM, ACCEPT_JSON], "title=%ff").await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    assert_eq!(malformed.json::<Value>(), json!({"message": text}));
}

#[tokio::test]
async fn the_extractors_of_axum_read_forms_with_a_csrf_token() {
    let setup = test_server(config());
    let forms = Forms::new().csrf_protection();
    let client = TestClient::tower(&setup.sessions, forms_app(forms, &setup));
    let token = client.get("/token").send().await.text().to_owned();
    let form = format!("title=On+bread&_csrf={token}");
    let json = format!("{{\"title\":\"On bread\",\"_csrf\":\"{token}\"}}");
    for (path, kind, body, expected) in [
        ("/form", FORM, form.clone(), "On bread"),
        ("/save", FORM, form, "On bread"),
        ("/save", JSON, json.clone(), "On bread"),
    ] {
        let answer = send(&client, path, &[kind], body).await;
        assert_eq!(answer.text(), expected, "{path}");
    }
    let answer = send(&client, "/json", &[JSON], json).await;
    assert_eq!(
        answer.json::<Value>(),
        json!({"title": "On bread", "_csrf": token})
    );
    for (path, kind, body) in [
        ("/form", FORM, "title=a"),
        ("/json", JSON, "{\"title\":\"a\"}"),
    ] {
        let refused = send(&client, path, &[kind], body).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let header = ("x-csrf-token", &*token);
        let answer = send(&client, path, &[kind, header], body).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn forms_without_a_session_layer_name_the_kind_that_is_missing() {
    let (test, forms) = (TestSessions::new(), Forms::new());
    let app = Router::new()
        .route("/", get(async || ()))
        .layer(forms.layer());
    let client = TestClient::tower(test.sessions(), app);
    let answer = client.get("/").send().await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("add the layer `Sessions::layer`"));

    let page = hyper::service::service_fn(async |_: Request<_>| {
        Ok::<_, Infallible>(http::Response::new(Empty::<bytes::Bytes>::new()))
    });
    let response = forms
        .wrap(page)
        .call(Request::new(Empty::<bytes::Bytes>::new()));
    let body = response.await.unwrap().into_body().collect().await.unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    assert!(
        text.contains("wrap the service with `Sessions::wrap`"),
        "{text}"
    );
}

#[test]
fn the_missing_layer_is_an_error_that_other_errors_can_hold() {
    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct AppError(#[from] MissingSessionLayer);
    fn find(request: &Request<()>) -> Result<&Session, AppError> {
        Ok(hyper_session::SessionExt::session(request)?)
    }
    let error = find(&Request::new(())).unwrap_err().to_string();
    assert!(error.contains("`Sessions::wrap`") && error.contains("`Sessions::layer`"));
}

/// Compiles only if handlers may return these errors.
#[allow(dead_code, reason = "it only has to compile")]
fn responses(
    session: SessionError,
    input: hyper_session::form::InputError,
    errors: ValidationErrors,
    rejection: hyper_session::service::SessionRejection,
) -> [Response; 4] {
    [
        session.into_response(),
        IntoResponse::into_response(input),
        errors.into_response(),
        rejection.into_response(),
    ]
}

#[derive(Default, serde::Serialize, Deserialize)]
#[serde(default)]
struct UserSession {
    theme: String,
    visits: u32,
}

#[tokio::test]
async fn a_typed_session_is_an_extractor() {
    async fn visit(mut user: Typed<UserSession>) -> Result<String, SessionError> {
        user.update(|user| user.visits += 1)?;
        Ok(format!("{} {}", user.theme, user.visits))
    }
    async fn other_type(session: Session) -> Result<(), SessionError> {
        session.put("visits", "many")
    }
    let app = Router::new()
        .route("/visit", get(visit))
        .route("/other", get(other_type));
    let setup = test_server(config());
    let client = TestClient::tower(&setup.sessions, app.clone().layer(setup.sessions.layer()));
    assert_eq!(client.get("/visit").send().await.text(), " 1");
    assert_eq!(client.get("/visit").send().await.text(), " 2");
    assert!(client.get("/other").send().await.status().is_success());
    let answer = client.get("/visit").send().await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let answer = TestClient::tower(&setup.sessions, app)
        .get("/visit")
        .send()
        .await;
    assert!(answer.text().contains("add the layer"), "{}", answer.text());
}
