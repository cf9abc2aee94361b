//! The client of the testing kit behaves as a browser.

use std::time::Duration;

use http::Method;
use hyper::service::service_fn;
use hyper_session::{
    CookieStore, SessionConfig, Sessions,
    testing::{StoreCall, TestClient, TestSessions},
};
use serde_json::{Value, json};

use super::support::{echo, header, pages, panic_message};

macro_rules! client {
    ($test:ident) => {
        TestClient::new($test.sessions(), $test.sessions().wrap_fn(pages))
    };
}

#[tokio::test]
async fn a_request_has_the_headers_of_a_browser() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    client.get("/form?x=1").send().await;
    let fields = [("name", "Ada & Co"), ("é", "1+1=2")];
    let sent: Value = client.post("/save").form(fields).send().await.json();
    assert_eq!(sent["method"], "POST");
    assert_eq!(sent["path"], "/save");
    assert_eq!(sent["body"], "name=Ada+%26+Co&%C3%A9=1%2B1%3D2");
    let headers = &sent["headers"];
    assert_eq!(headers["host"], "localhost");
    assert_eq!(headers["origin"], "https://localhost");
    assert_eq!(headers["referer"], "https://localhost/form?x=1");
    assert_eq!(headers["sec-fetch-site"], "same-origin");
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert!(headers["accept"].as_str().unwrap().starts_with("text/html"));

    let own = client.post("/").header("origin", "null").json(&[1]).send();
    let sent: Value = own.await.json();
    assert_eq!(sent["headers"]["origin"], "null");
    assert_eq!(sent["headers"]["content-type"], "application/json");
    assert_eq!(sent["body"], "[1]");
    let sent: Value = client
        .request(Method::PUT, "/")
        .body("text")
        .send()
        .await
        .json();
    assert_eq!(
        (&sent["method"], &sent["body"]),
        (&json!("PUT"), &json!("text"))
    );
    let plain = client.with_origin("http://shop.example:8080");
    assert_eq!(
        header(&plain.get("/").send().await, "host"),
        "shop.example:8080"
    );
}

#[tokio::test]
async fn tabs_share_their_cookies_and_visitors_do_not() {
    let test = TestSessions::new();
    let client = client!(test);
    client.get("/visit").send().await;
    let (tab, visitor) = (client.clone(), client.new_visitor());
    let (here, there) = tokio::join!(client.get("/visit").send(), tab.get("/visit").send());
    assert!(here.status().is_success() && there.status().is_success());
    client.get("/").send().await.assert_session("visits", 3);
    visitor
        .get("/visit")
        .send()
        .await
        .assert_session("visits", 1);
}

#[tokio::test]
async fn a_session_is_prepared_without_a_trace() {
    let test = TestSessions::new();
    let client = client!(test);
    client
        .with_session(|session| session.flash("notification", "Hello."))
        .await;
    let visits = client
        .with_session(|session| {
            session.put("visits", 41)?;
            session.tag("user-7")?;
            session.increment("visits")
        })
        .await;
    assert_eq!(visits.to_string(), "42");
    assert_eq!(test.store().calls(), [], "the service was not called");

    let page = client.get("/elsewhere").send().await;
    page.assert_session("visits", 42).assert_tag("user-7");
    page.assert_flash_missing("notification");
    assert_eq!(test.store().calls(), [StoreCall::Read, StoreCall::Write]);
}

#[tokio::test]
async fn the_clock_ends_sessions_and_looking_at_them_does_not_renew_them() {
    let test = TestSessions::with_config(SessionConfig::default().age(Duration::from_secs(600)));
    let client = client!(test);
    client.get("/visit").send().await;
    for _ in 0..3 {
        test.advance(Duration::from_secs(9 * 60));
        client.get("/").send().await.assert_session("visits", 1);
    }
    test.advance(Duration::from_secs(11 * 60));
    client.get("/").send().await.assert_no_session();
}

#[tokio::test]
async fn sessions_in_cookies_are_read_too() {
    let config = SessionConfig::default().app_key("the key of a test, nothing more than that");
    let sessions = Sessions::new(config, CookieStore::new()).unwrap();
    let client = TestClient::new(&sessions, sessions.wrap_fn(pages));
    client.with_session(|session| session.flash("a", 1)).await;
    client
        .with_session(|session| session.put("visits", 1))
        .await;
    client
        .get("/visit")
        .send()
        .await
        .assert_session("visits", 2);
}

#[tokio::test]
async fn a_rotated_session_is_found_under_its_new_id() {
    let test = TestSessions::new();
    let client = client!(test);
    client.get("/visit").send().await;
    let old = client.cookie("session").unwrap();
    client
        .with_session(|s| s.rotate_id(Duration::from_secs(60)))
        .await;
    client.set_cookie("session", &old);
    let page = client.get("/visit").send().await;
    page.assert_session("visits", 2);
}

#[tokio::test]
async fn a_handler_that_fails_names_the_request_and_the_reason() {
    let test = TestSessions::new();
    let client = client!(test);
    let message = panic_message(client.get("/fail").send()).await;
    assert!(message.contains("client.rs"), "{message}");
    assert!(message.contains("GET https://localhost/fail"), "{message}");
    let reasons = message.matches("the database is away").count();
    assert_eq!(reasons, 1, "{message}");
}

#[tokio::test]
async fn a_session_that_cannot_be_prepared_names_the_reason() {
    let test = TestSessions::with_config(SessionConfig::default().enabled(false));
    let client = client!(test);
    let change = client.with_session(|session| session.put("n", 1));
    let message = panic_message(change).await;
    assert!(message.contains("client.rs"), "{message}");
    assert!(message.contains("sessions are disabled"), "{message}");

    let config = SessionConfig::default().app_key("the key of a test, nothing more than that");
    let sessions = Sessions::new(config, CookieStore::new()).unwrap();
    let client = TestClient::new(&sessions, sessions.wrap_fn(pages));
    let change = client.with_session(|session| session.put("cart", "x".repeat(5000)));
    let message = panic_message(change).await;
    assert!(message.contains("cannot be stored"), "{message}");
    assert!(message.contains("largest keys: `cart`"), "{message}");
}

#[tokio::test]
async fn each_tab_has_its_own_page() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    client.get("/form").send().await;
    let tab = client.clone();
    let referer = async |client: &TestClient<_>| header(&client.post("/").send().await, "referer");
    assert_eq!(referer(&tab).await, "https://localhost/form");
    tab.get("/other?a=1;Path=/").send().await;
    assert_eq!(referer(&tab).await, "https://localhost/other?a=1;Path=/");
    assert_eq!(referer(&client).await, "https://localhost/form");
    assert_eq!(
        client.cookie("a").as_deref(),
        Some("1"),
        "all share cookies"
    );
    assert_eq!(referer(&client.new_visitor()).await, Value::Null);
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    let test = TestSessions::new();
    for origin in [
        "https://shop.example/app",
        "https://a@b",
        "ftp://a",
        "a.example",
        "http://",
        "https://a/?b",
    ] {
        let client = TestClient::new(test.sessions(), service_fn(echo));
        let change = std::panic::AssertUnwindSafe(|| client.with_origin(origin));
        let panic = std::panic::catch_unwind(change).expect_err(origin);
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(
            message.contains("is invalid; use http or https"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_path_begins_with_a_slash() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    for path in ["", "page", "https://localhost/", "?a=1"] {
        let message = panic_message(client.get(path).send()).await;
        assert!(
            message.contains("is invalid; begin it with `/`"),
            "{message}"
        );
    }
}
