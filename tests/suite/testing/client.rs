//! The client of the testing kit behaves as a browser.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_session::{
    CookieStore, Session, SessionConfig, Sessions,
    testing::{StoreCall, TestClient, TestSessions},
};
use serde_json::{Value, json};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Page = Response<Full<Bytes>>;

/// Responds with the request as JSON. The query has the `Set-Cookie` lines, separated by `&`.
async fn echo(request: Request<Incoming>) -> Result<Page, BoxError> {
    let mut response = Response::builder();
    for line in request.uri().query().unwrap_or_default().split('&') {
        response = response.header("set-cookie", line.replace("%20", " "));
    }
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let body = request.into_body().collect().await?.to_bytes();
    let body = String::from_utf8(body.to_vec())?;
    let echo = json!({ "method": method, "path": path, "headers": headers, "body": body });
    Ok(response.body(Full::from(echo.to_string()))?)
}

/// Pages that use the session.
async fn pages(request: Request<Incoming>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    match request.uri().path() {
        "/visit" => drop(session.increment("visits")?),
        "/old" => {
            let redirect = Response::builder().status(303).header("location", "/visit");
            return Ok(redirect.body(Full::default())?);
        }
        "/logout" => session.destroy()?,
        "/fail" => return Err("the database is away".into()),
        _ => {}
    }
    Ok(Response::default())
}

fn header(response: &hyper_session::testing::TestResponse, name: &str) -> Value {
    response.json::<Value>()["headers"][name].take()
}

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
async fn cookies_are_kept_as_a_browser_keeps_them() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(echo));
    let client = client.with_origin("https://www.shop.example");
    client
        .get("/a/b?own=1&all=2;%20Domain=shop.example&root=3;Path=/&deep=4;Path=/a/b/c")
        .send()
        .await;
    client
        .get("/a/b?foreign=5;Domain=other.example&__Host-x=6;Path=/&host=7;Domain=example.net")
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
    plain.get("/?a=1;Secure&b=2").send().await;
    assert_eq!(header(&plain.get("/").send().await, "cookie"), "b=2");
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
async fn redirects_are_followed_on_request() {
    let test = TestSessions::new();
    let client = client!(test);
    let redirect = client.get("/old").send().await;
    redirect.assert_redirect("/visit").assert_no_session();
    let page = client.follow(&redirect).send().await;
    page.assert_status(200).assert_session("visits", 1);
    client.get("/logout").send().await.assert_no_session();
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
#[should_panic(expected = "client.rs")]
async fn a_handler_that_fails_names_the_request_and_the_reason() {
    let test = TestSessions::new();
    let client = client!(test);
    let failing = async { client.get("/fail").send().await };
    let failure = std::panic::AssertUnwindSafe(failing);
    let message = futures_message(failure).await;
    assert!(message.contains("GET https://localhost/fail"), "{message}");
    assert!(message.contains("the database is away"), "{message}");
    panic!("{message}");
}

/// Returns the message of the panic of a future.
async fn futures_message<T>(
    future: std::panic::AssertUnwindSafe<impl Future<Output = T>>,
) -> String {
    let mut future = Box::pin(future.0);
    let result = std::future::poll_fn(|cx| {
        let poll = std::panic::AssertUnwindSafe(|| future.as_mut().poll(cx));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(|_| None),
            Err(panic) => std::task::Poll::Ready(panic.downcast_ref::<String>().cloned()),
        }
    });
    result.await.expect("the future panics")
}
