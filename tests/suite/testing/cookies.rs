//! The client of the testing kit keeps cookies as a browser does.

use std::time::{Duration, SystemTime};

use hyper::service::service_fn;
use hyper_session::{
    SessionConfig,
    cookie::Attributes,
    testing::{TestClient, TestSessions},
};
use serde_json::Value;

use super::support::{echo, header, pages, panic_message};

#[tokio::test]
async fn cookies_are_kept_as_a_browser_keeps_them() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    let client = client.with_origin("https://www.shop.example");
    client
        .get("/a/b?own=1&all=2;%20Domain=shop.example&root=3;Path=/&deep=4;Path=/a/b/c")
        .send()
        .await;
    client
        .get("/a/b?short=8;Path=/;Max-Age=60&gone=9;Path=/;Max-Age=0")
        .send()
        .await;
    client
        .get("/a/b?old=10;Path=/;Expires=Thu,%2001%20Jan%201970%2000:00:00%20GMT")
        .send()
        .await;
    let sent = async |path| header(&client.get(path).send().await, "cookie");
    assert_eq!(sent("/").await, "root=3; short=8");
    assert_eq!(sent("/a/b/x").await, "own=1; all=2; root=3; short=8");
    assert_eq!(
        sent("/a/b/c").await,
        "deep=4; own=1; all=2; root=3; short=8"
    );
    assert_eq!(sent("/ab").await, "root=3; short=8");

    client.get("/a/b?root=11;Path=/").send().await;
    assert_eq!(client.cookie("root").as_deref(), Some("11"));
    test.advance(Duration::from_secs(60));
    assert_eq!(sent("/").await, "root=11", "the other one has expired");
    client.get("/?kept=12;Max-Age=60").send().await;
    client.close_browser();
    assert_eq!(sent("/").await, "kept=12");
    client.set_cookie("kept", "13");
    assert_eq!(sent("/").await, "kept=13");
    client.clear_cookies();
    assert_eq!(sent("/").await, Value::Null);
}

#[tokio::test]
async fn secure_cookies_stay_on_https() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    client
        .get("/?a=1;Secure&__Host-b=2;Secure;Path=/")
        .send()
        .await;
    assert_eq!(
        header(&client.get("/").send().await, "cookie"),
        "a=1; __Host-b=2"
    );
    let plain = client.with_origin("http://localhost");
    plain.get("/?b=2").send().await;
    assert_eq!(header(&plain.get("/").send().await, "cookie"), "b=2");
}

/// A session cookie that a browser drops would make each later assertion about a missing session pass.
#[tokio::test]
async fn a_cookie_that_a_browser_rejects_fails_the_test_with_its_rule_and_a_remedy() {
    let test = TestSessions::new();
    let long = format!("a={}", "x".repeat(4096));
    for (origin, line, problem) in [
        (
            "http://localhost",
            "a=1;Secure",
            "cookie \"a\": `Secure` is rejected from an http origin; use",
        ),
        (
            "https://localhost",
            "a=1;Domain=shop.example",
            "cookie \"a\": `Domain=shop.example` does not cover the host \"localhost\"; set",
        ),
        (
            "https://shop.example",
            "a=1;Domain=www.shop.example",
            "cookie \"a\": `Domain=www.shop.example` does not cover the host \"shop.example\"; set",
        ),
        (
            "https://127.0.0.1",
            "a=1;Domain=0.0.1",
            "cookie \"a\": `Domain=0.0.1` does not cover the host \"127.0.0.1\"; set",
        ),
        (
            "https://localhost",
            "__Host-a=1;Secure;Path=/a",
            "cookie \"__Host-a\": the prefix `__Host-`",
        ),
        (
            "https://localhost",
            "__Host-a=1;Secure",
            "cookie \"__Host-a\": the prefix `__Host-`",
        ),
        (
            "https://localhost",
            "__host-a=1;Path=/",
            "cookie \"__host-a\": the prefix `__Host-`",
        ),
        (
            "https://localhost",
            "__Host-a=1;Secure;Path=/;Domain=localhost",
            "cookie \"__Host-a\": the prefix `__Host-`",
        ),
        (
            "https://localhost",
            "__Secure-a=1",
            "cookie \"__Secure-a\": the prefix `__Secure-`",
        ),
        (
            "https://localhost",
            "a=1;SameSite=None",
            "cookie \"a\": `SameSite=None` requires `Secure`; set",
        ),
        (
            "https://localhost",
            &*long,
            "cookie \"a\": name and value have 4097 bytes, limit is 4096; store",
        ),
        (
            "https://localhost",
            "a;Path=/",
            "cookie \"a\": the line is not `name=value`",
        ),
        (
            "https://localhost",
            "=1",
            "cookie \"\": the line is not `name=value`",
        ),
    ] {
        let client = TestClient::new(test.sessions(), service_fn(echo)).with_origin(origin);
        let message = panic_message(client.get(&format!("/?{line}")).send()).await;
        assert!(message.contains(problem), "{line}: {message}");
        assert!(
            message.contains("cookies.rs") && message.contains("GET "),
            "{message}"
        );
        let removal = client.get(&format!("/?{line};Max-Age=0"));
        if !line.contains("a;") && !line.starts_with('=') {
            removal.send().await.assert_status(200);
        }
    }
}

#[tokio::test]
async fn a_session_cookie_that_does_not_fit_the_origin_fails_the_test() {
    let domain = SessionConfig::default().cookie(Attributes::default().domain("shop.example"));
    for (config, origin, problem) in [
        (
            SessionConfig::default(),
            "http://localhost",
            "`Secure` is rejected",
        ),
        (
            domain,
            "https://localhost",
            "`Domain=shop.example` does not cover",
        ),
    ] {
        let test = TestSessions::with_config(config);
        let service = test.sessions().wrap_fn(pages);
        let client = TestClient::new(test.sessions(), service).with_origin(origin);
        for message in [
            panic_message(client.get("/visit").send()).await,
            panic_message(client.with_session(|session| session.put("a", 1))).await,
        ] {
            assert!(message.contains("cookies.rs"), "{message}");
            assert!(message.contains("cookie \"session\""), "{message}");
            assert!(message.contains(problem), "{message}");
        }
    }
}

#[tokio::test]
async fn a_session_that_is_not_sent_to_the_path_of_its_handler_fails_the_test() {
    let test = TestSessions::with_config(
        SessionConfig::default().cookie(Attributes::default().path("/app")),
    );
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(pages));
    client
        .with_session(|session| session.put("visits", 1))
        .await;
    client
        .get("/app/visit")
        .send()
        .await
        .assert_session("visits", 1);
    let message = panic_message(client.get("/visit").send()).await;
    let problem = "cookie \"session\": `Path=/app` does not cover the request's path \"/visit\"";
    assert!(message.contains(problem), "{message}");

    // A path that does not use the session may be outside.
    let echoing = TestClient::new(test.sessions(), service_fn(echo));
    echoing
        .with_session(|session| session.put("visits", 1))
        .await;
    let page = echoing.get("/").send().await;
    assert_eq!(header(&page, "cookie"), Value::Null);
}

/// RFC 6265bis, 5.7, step 23: a cookie replaces one with the same name, domain, host-only-flag and path. So a
/// cookie for this host only and a cookie for its subdomains too are two cookies.
#[tokio::test]
async fn a_cookie_of_one_host_does_not_replace_a_cookie_of_its_subdomains() {
    let test = TestSessions::new();
    let client =
        TestClient::new(test.sessions(), service_fn(echo)).with_origin("https://shop.example");
    client.get("/?a=1&a=2;Domain=shop.example").send().await;
    let sent = async || header(&client.get("/").send().await, "cookie");
    assert_eq!(sent().await, "a=1; a=2");
    client.get("/?a=3;Domain=.SHOP.example&a=4").send().await;
    assert_eq!(sent().await, "a=4; a=3");
    client.get("/?a=;Max-Age=0").send().await;
    assert_eq!(sent().await, "a=3");
}

#[tokio::test]
async fn a_handler_may_take_the_expiry_of_a_cookie_from_the_system() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    let expires = SystemTime::now() + Duration::from_secs(3600);
    let expires = httpdate(expires).replace(' ', "%20");
    client
        .get(&format!("/?a=1;Path=/;Expires={expires}"))
        .send()
        .await;
    test.advance(Duration::from_secs(3000));
    assert_eq!(client.cookie("a").as_deref(), Some("1"));
    test.advance(Duration::from_secs(700));
    assert_eq!(client.cookie("a"), None);
}

/// Returns a time as a `Set-Cookie` line has it. The `cookie` crate writes it.
fn httpdate(time: SystemTime) -> String {
    let mut cookie = cookie::Cookie::new("a", "1");
    cookie.set_expires(cookie::time::OffsetDateTime::from(time));
    let line = cookie.to_string();
    line.split_once("Expires=").unwrap().1.to_owned()
}

#[tokio::test]
async fn cookies_of_a_test_are_sent_or_refused() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    for (name, value) in [("a", "1;2"), ("a", "1\n"), ("", "1"), ("a=", "1")] {
        let set = std::panic::AssertUnwindSafe(|| client.set_cookie(name, value));
        let panic = std::panic::catch_unwind(set).expect_err(value);
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("is not `name=value`"), "{message}");
    }
    client.set_cookie("a", "1");
    let own = client.get("/").header("cookie", "b=2").send().await;
    assert_eq!(
        header(&own, "cookie"),
        "b=2",
        "a header of the test replaces it"
    );
}
