//! The assertions of the testing kit pass for what is there, and fail with a message that shows it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError,
    testing::{TestClient, TestResponse, TestSessions},
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
fn failure(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("it fails");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[tokio::test]
async fn what_is_there_is_asserted() {
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
    type Assertion = fn(&TestResponse);
    let cases: [(Assertion, &str); 11] = [
        (
            |r| {
                r.assert_session("user.name", "Ada");
            },
            "session value user.name: expected \"Ada\", found none",
        ),
        (
            |r| {
                r.assert_session_missing("user");
            },
            "session value user: expected none, found {\"id\":7}",
        ),
        (
            |r| {
                r.assert_flash("notification.type", 1);
            },
            "flash message notification.type: expected 1, found \"success\"",
        ),
        (
            |r| {
                r.assert_flash_missing("notification");
            },
            "flash message notification: expected none, found",
        ),
        (
            |r| {
                r.assert_validation_error("title", "No.");
            },
            "validation error of \"title\": expected \"No.\", found [\"Give it a title.\"]",
        ),
        (
            |r| {
                r.assert_validation_error_missing("title");
            },
            "validation error of \"title\": expected none, found",
        ),
        (
            |r| {
                r.assert_tag("user-8");
            },
            "tag \"user-8\": expected, found [\"user-7\"]",
        ),
        (
            |r| {
                r.assert_tag_missing("user-7");
            },
            "tag \"user-7\": expected none, found",
        ),
        (
            |r| {
                r.assert_status(200);
            },
            "expected status 200; the body is \"{\\\"a\\\":1}\"",
        ),
        (
            |r| {
                r.assert_redirect("/");
            },
            "expected a redirect to \"/\", found location Some(\"/next\")",
        ),
        (
            |r| {
                r.assert_no_session();
            },
            "expected no session",
        ),
    ];
    for (assertion, expected) in cases {
        let message = failure(|| assertion(&response));
        assert!(message.starts_with(expected), "{message}");
        assert!(message.contains("after POST /save"), "{message}");
    }
}
