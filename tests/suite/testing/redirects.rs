//! The client of the testing kit follows redirects as a browser does.

use http::{Method, Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_session::testing::{TestClient, TestSessions};
use serde_json::Value;

use super::support::{BoxError, Page, echo, pages, panic_message};

#[tokio::test]
async fn redirects_are_followed_on_request() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(pages));
    let redirect = client.get("/old").send().await;
    redirect.assert_redirect("/visit").assert_no_session();
    let page = client.follow(&redirect).send().await;
    page.assert_status(200).assert_session("visits", 1);
    client.get("/logout").send().await.assert_no_session();
}

/// Redirects as the headers `x-status` and `x-location` say. Responds to other requests with their echo.
async fn redirect(request: Request<Incoming>) -> Result<Page, BoxError> {
    let is_redirect = request.uri().path().ends_with("/go") && request.uri().query() != Some("b=2");
    if !is_redirect {
        return echo(request).await;
    }
    let header = |name: &str| request.headers()[name].to_str();
    let response = Response::builder().status(header("x-status")?);
    let location = header("x-location")?;
    Ok(response
        .header("location", location)
        .body(Page::default().into_body())?)
}

#[tokio::test]
async fn a_location_is_resolved_as_a_browser_resolves_it() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(redirect));
    for (location, expected) in [
        ("/next", "/next"),
        ("/next?a=b#top", "/next?a=b"),
        ("next", "/a/b/next"),
        ("./next", "/a/b/next"),
        ("../next", "/a/next"),
        ("../../../next/", "/next/"),
        ("/x/./y/../z", "/x/z"),
        ("/x/%2e%2E/z", "/z"),
        ("..", "/a/"),
        ("?b=2", "/a/b/go?b=2"),
        ("a:b/c", ""),
        ("./a:b", "/a/b/a:b"),
        ("https://localhost/next", "/next"),
        ("https://localhost", "/"),
        ("https://localhost:443/next", "/next"),
        ("HTTPS://LOCALHOST/Next", "/Next"),
        ("//localhost/next", "/next"),
        ("/a b", "/a%20b"),
        ("next?to=//evil.example", "/a/b/next?to=//evil.example"),
        ("//evil.example/next", ""),
        ("///evil.example/next", ""),
        ("/\\evil.example/next", ""),
        ("\\\\evil.example/next", ""),
        ("/\t/evil.example", ""),
        ("https://evil.example/", ""),
        ("https://localhost@evil.example/", ""),
        ("https://localhost.evil.example/", ""),
        ("https://localhost:444/next", ""),
        ("http://localhost/next", ""),
        ("javascript:alert(1)", ""),
        ("https:next", ""),
    ] {
        let request = client.get("/a/b/go?q=1").header("x-status", "302");
        let response = request.header("x-location", location).send().await;
        if expected.is_empty() {
            let follow = async { client.follow(&response).send().await };
            let message = panic_message(follow).await;
            let problem = "redirect to https://localhost/ expected, found location";
            assert!(message.contains(problem), "{location}: {message}");
            assert!(message.contains("after GET /a/b/go"), "{message}");
            continue;
        }
        let page: Value = client.follow(&response).send().await.json();
        assert_eq!(page["path"], expected, "{location}");
    }
}

#[tokio::test]
async fn a_redirect_keeps_or_changes_the_method_as_its_status_says() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(redirect));
    for (status, method, expected) in [
        ("301", Method::POST, "GET"),
        ("302", Method::POST, "GET"),
        ("303", Method::POST, "GET"),
        ("307", Method::POST, "POST"),
        ("308", Method::POST, "POST"),
        ("302", Method::PUT, "PUT"),
        ("303", Method::PUT, "GET"),
        ("307", Method::GET, "GET"),
    ] {
        let request = client.request(method, "/go").header("x-status", status);
        let request = request.header("x-location", "/next").form([("a", "1")]);
        let response = request.send().await;
        let page: Value = client.follow(&response).send().await.json();
        assert_eq!(page["method"], expected, "{status}");
        let is_kept = expected != "GET" || status == "307";
        let (body, content_type) = (&page["body"], &page["headers"]["content-type"]);
        assert_eq!(body, if is_kept { "a=1" } else { "" }, "{status}");
        assert_eq!(content_type.is_string(), is_kept, "{status}");
        assert_eq!(
            page["headers"]["x-status"], status,
            "headers of the test stay"
        );
    }
}

#[tokio::test]
async fn other_responses_are_not_followed() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), service_fn(redirect));
    for status in ["200", "201", "300", "304", "404"] {
        let request = client.get("/go").header("x-status", status);
        let response = request.header("x-location", "/next").send().await;
        let follow = async { client.follow(&response).send().await };
        let message = panic_message(follow).await;
        assert!(message.starts_with("redirect expected"), "{message}");
    }
}
