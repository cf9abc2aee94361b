//! The assertions of the testing kit: they pass for the stored session, and fail with a message that shows it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError,
    testing::{StoreCall, TestClient, TestResponse, TestSessions},
};

/// Leaves one of everything behind.
async fn save(
    _: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, SessionError> {
    session.load().await?;
    session.put("user.id", 7)?;
    session.put("none", ())?;
    session.tag("user-7")?;
    session.flash("notification.type", "success")?;
    session.flash(["inputErrorsBag", "title"], ["Give it a title."])?;
    let mut response = Response::new(Full::from(r#"{"a":1}"#));
    *response.status_mut() = http::StatusCode::SEE_OTHER;
    response
        .headers_mut()
        .insert("location", "/next".parse().unwrap());
    Ok(response)
}

async fn saved() -> TestResponse {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(save));
    client.post("/save").send().await
}

/// Returns the message with which an assertion fails.
fn failure<T>(assertion: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).map(drop);
    let panic = panic.expect_err("it fails");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[tokio::test]
async fn assertions_pass_for_stored_values_messages_and_tags() {
    let response = saved().await;
    response
        .assert_status(303)
        .assert_redirect("/next")
        .assert_session("user.id", 7)
        .assert_session("user", serde_json::json!({ "id": 7 }))
        .assert_session(["user", "id"], 7_u64)
        .assert_session_missing("user.name")
        .assert_session_missing("none")
        .assert_flash("notification.type", "success")
        .assert_flash_missing("user")
        .assert_validation_error("title", "Give it a title.")
        .assert_validation_error_missing("text")
        .assert_tag("user-7")
        .assert_tag_missing("user-8");
    assert_eq!(response.session().get::<u8>("user.id").unwrap(), Some(7));
    assert!(response.flash_messages().has("notification").unwrap());
    assert_eq!(response.tags(), ["user-7"]);
    assert_eq!(response.text(), r#"{"a":1}"#);
    assert_eq!(response.json::<serde_json::Value>()["a"], 1);
}

#[tokio::test]
async fn a_failed_assertion_shows_the_value_the_request_and_the_session() {
    let response = saved().await;
    let message = failure(|| {
        response.assert_session("user.id", 8);
    });
    assert_eq!(
        message,
        "session value user.id: expected 8, found 7\n  after POST /save, status 303 See Other\n  \
         session: {\"user\":{\"id\":7},\"none\":null}\n  flash messages: \
         {\"notification\":{\"type\":\"success\"},\"inputErrorsBag\":{\"title\":[\"Give it a title.\"]}}"
    );
    type Assertion = fn(&TestResponse) -> &TestResponse;
    let cases: [(Assertion, &str); 11] = [
        (
            |r| r.assert_session("user.name", "Ada"),
            "session value user.name: expected \"Ada\", found none",
        ),
        (
            |r| r.assert_session_missing("user"),
            "session value user: expected none, found {\"id\":7}",
        ),
        (
            |r| r.assert_flash("notification.type", 1),
            "flash message notification.type: expected 1, found \"success\"",
        ),
        (
            |r| r.assert_flash_missing("notification"),
            "flash message notification: expected none, found",
        ),
        (
            |r| r.assert_validation_error("title", "No."),
            "validation error of \"title\": expected \"No.\", found [\"Give it a title.\"]",
        ),
        (
            |r| r.assert_validation_error_missing("title"),
            "validation error of \"title\": expected none, found",
        ),
        (
            |r| r.assert_tag("user-8"),
            "tag \"user-8\": expected, found [\"user-7\"]",
        ),
        (
            |r| r.assert_tag_missing("user-7"),
            "tag \"user-7\": expected none, found",
        ),
        (
            |r| r.assert_status(200),
            "expected status 200; the body is \"{\\\"a\\\":1}\"",
        ),
        (
            |r| r.assert_redirect("/"),
            "expected a redirect to \"/\", found location \"/next\"",
        ),
        (|r| r.assert_no_session(), "expected no session"),
    ];
    for (assertion, expected) in cases {
        let message = failure(|| assertion(&response));
        assert!(message.starts_with(expected), "{message}");
        assert!(message.contains("after POST /save"), "{message}");
    }
}

/// Returns what a handler left behind.
async fn response_of(
    handler: impl Fn(&Session) -> Result<(), SessionError>,
    status: u16,
    body: &str,
) -> TestResponse {
    let test = TestSessions::new();
    let handler = &handler;
    let service = test
        .sessions()
        .wrap_fn(|_: Request<Incoming>, session: Session| async move {
            session.load().await?;
            handler(&session)?;
            let response = Response::builder().status(status);
            Ok::<_, SessionError>(response.body(body.to_owned()).unwrap())
        });
    TestClient::new(test.sessions(), service)
        .get("/")
        .send()
        .await
}

#[tokio::test]
async fn numbers_and_null_are_compared_as_they_are_stored() {
    let store = |session: &Session| {
        session.put("float", 0.1_f32)?;
        session.put("double", 1e-7)?;
        session.put("large", u128::MAX)?;
        session.put("small", i128::MIN)?;
        session.put("list", [u128::MAX, 1])?;
        session.put("none", None::<u8>)?;
        session.put(
            "object",
            serde_json::json!({ "b": [1, { "d": 1, "c": 2 }], "a": 1.0 }),
        )
    };
    let response = response_of(store, 200, "").await;
    response
        .assert_session("float", 0.1_f32)
        .assert_session("double", 1e-7)
        .assert_session("large", u128::MAX)
        .assert_session("small", i128::MIN)
        .assert_session("list", (u128::MAX, 1_u8))
        .assert_session("none", None::<u8>)
        .assert_session("none", ())
        .assert_session(
            "object",
            serde_json::json!({ "a": 1.0, "b": [1, { "c": 2, "d": 1 }] }),
        )
        .assert_session_missing("none");
    type Assertion = fn(&TestResponse) -> &TestResponse;
    let cases: [(Assertion, &str); 9] = [
        (
            |r| r.assert_session("date", std::time::SystemTime::UNIX_EPOCH),
            "expected value has no JSON form: cannot write \"date\": a `SystemTime`",
        ),
        (
            |r| r.assert_session("float", 0.2_f32),
            "session value float: expected 0.2, found 0.1",
        ),
        (
            |r| r.assert_session("large", u128::MAX - 1),
            "session value large: expected 340282366920938463463374607431768211454, found \
             340282366920938463463374607431768211455",
        ),
        (
            |r| r.assert_session("small", i128::MIN + 1),
            "session value small: expected -170141183460469231731687303715884105727, found",
        ),
        (
            |r| r.assert_session("list", [u128::MAX, 2]),
            "session value list: expected [340282366920938463463374607431768211455,2], found",
        ),
        (
            |r| r.assert_session("nothing", ()),
            "session value nothing: expected null, found none",
        ),
        (
            |r| r.assert_session("none", 0),
            "session value none: expected 0, found null",
        ),
        (
            |r| r.assert_session("object", serde_json::json!({ "a": 1.0 })),
            "session value object: expected {\"a\":1.0}, found",
        ),
        (
            |r| r.assert_session("double", f64::NAN),
            "expected value has no JSON form",
        ),
    ];
    for (assertion, expected) in cases {
        let message = failure(|| assertion(&response));
        assert!(message.starts_with(expected), "{message}");
    }
}

/// Errors in a form that the kit does not read must not pass as "no error".
#[tokio::test]
async fn validation_errors_of_another_form_fail_both_assertions() {
    type Flash = fn(&Session) -> Result<(), SessionError>;
    let none: Flash = |_| Ok(());
    let list: Flash = |session| session.flash("inputErrorsBag", ["It is wrong."]);
    let text: Flash = |session| session.flash(["inputErrorsBag", "title"], "It is wrong.");
    for (flash, status, body, problem) in [
        (none, 422, "no JSON", "body is not the expected JSON"),
        (
            none,
            422,
            "{}",
            "validation errors are not an object of fields: null",
        ),
        (
            none,
            422,
            r#"{"errors":[{"field":"title"}]}"#,
            "validation errors are not an object of fields: [",
        ),
        (
            none,
            422,
            r#"{"errors":{"title":"No."}}"#,
            "validation errors of \"title\" are not a list of texts: \"No.\"",
        ),
        (
            none,
            422,
            r#"{"errors":{"title":[1]}}"#,
            "validation errors of \"title\" are not a list of texts: [1]",
        ),
        (
            list,
            303,
            "",
            "validation errors are not an object of fields: [",
        ),
        (
            text,
            303,
            "",
            "validation errors of \"title\" are not a list of texts: \"It is wrong.\"",
        ),
    ] {
        let response = response_of(flash, status, body).await;
        let missing = failure(|| response.assert_validation_error_missing("title"));
        let present = failure(|| response.assert_validation_error("title", "No."));
        assert!(missing.starts_with(problem), "{body}: {missing}");
        assert!(present.starts_with(problem), "{body}: {present}");
    }
    let json = r#"{"errors":{"title":["No."]}}"#;
    let response = response_of(none, 422, json).await;
    response
        .assert_validation_error("title", "No.")
        .assert_validation_error_missing("text");
    response_of(none, 200, "")
        .await
        .assert_validation_error_missing("title");
}

/// A request that fails before its form is checked must not pass as one without errors.
#[tokio::test]
async fn an_error_response_has_no_missing_validation_error() {
    for status in [400, 403, 404, 500, 503] {
        let response = response_of(|_| Ok(()), status, "").await;
        let message = failure(|| response.assert_validation_error_missing("title"));
        let problem = "validation error of \"title\": expected none, but the request failed";
        assert!(message.starts_with(problem), "{message}");
    }
}

#[tokio::test]
async fn only_a_redirect_has_a_location_to_assert() {
    for status in [200, 201, 300, 304, 404] {
        let test = TestSessions::new();
        let service = hyper::service::service_fn(async |_: Request<Incoming>| {
            let response = Response::builder().status(status).header("location", "/");
            Ok::<_, std::convert::Infallible>(response.body(Full::<Bytes>::default()).unwrap())
        });
        let client = TestClient::new(test.sessions(), service);
        let response = client.get("/").send().await;
        let message = failure(|| response.assert_redirect("/"));
        assert!(message.starts_with("expected a redirect"), "{message}");
    }
    let response = response_of(|_| Ok(()), 200, "").await;
    let message = failure(|| response.assert_redirect("/"));
    assert!(message.contains("found location none"), "{message}");
}

/// A connection does not transfer the error of a response, and its body is empty.
#[tokio::test]
async fn a_failed_assertion_about_an_error_response_shows_its_reason() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(save));
    test.store().fail(StoreCall::Write);
    let response = client.post("/save").send().await;
    let message = failure(|| response.assert_status(303));
    let reason = "after POST /save, status 503 Service Unavailable: session store test: write failed: the test \
                  made the call fail\n";
    assert!(message.contains(reason), "{message}");
}

#[cfg(feature = "forms")]
#[tokio::test]
async fn a_failed_assertion_about_a_rejected_form_shows_its_reason() {
    let test = TestSessions::new();
    let forms = hyper_session::form::Forms::new().csrf_protection();
    let page = async |_: Request<_>, _: Session| {
        Ok::<_, SessionError>(Response::new(Full::<Bytes>::default()))
    };
    let client = TestClient::new(
        test.sessions(),
        test.sessions().wrap_fn(forms.wrap_fn(page)),
    );
    let response = client.post("/save").form([("title", "Tea")]).send().await;
    let message = failure(|| response.assert_status(200));
    let reason = "status 403 Forbidden: CSRF check failed: the token is missing\n";
    assert!(message.contains(reason), "{message}");
}
