//! Flash messages and requests whose response no visitor sees.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper_session::{Session, SessionConfig, patch::ChangeLimits};
use serde_json::{Value, json};

use crate::support::{Browser, Call, TestServer, config, object, test_server};

fn request(method: Method, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn response(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}

async fn flash_messages(session: &Session) -> Value {
    let session = session.load().await.unwrap();
    session.flash_messages().unwrap().all().unwrap()
}

/// Returns a browser whose session has the flash message `{"m": 1}`.
async fn browser_with_message(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.flash("m", 1)).await.unwrap();
    browser
}

/// Sends a request that reads the flash messages. Returns the messages of the next request, and the
/// number of writes of this one.
async fn messages_after(
    config: SessionConfig,
    request: Request<()>,
    status: StatusCode,
) -> (Value, usize) {
    let server = test_server(config);
    let mut browser = browser_with_message(&server).await;
    server.store.calls();
    let visit = browser
        .send(request, response(status), async |s| {
            flash_messages(&s).await
        })
        .await;
    assert_eq!(visit.value.unwrap(), json!({"m": 1}), "it can read them");
    let calls = server.store.calls();
    let writes = calls.iter().filter(|call| **call == Call::Write).count();
    let next = browser.visit(async |s| flash_messages(s).await).await;
    let last = browser.visit(async |s| flash_messages(s).await).await;
    assert_eq!(last, json!({}));
    (next, writes)
}

#[tokio::test]
async fn invisible_requests_leave_the_messages() {
    let get = |headers: &[_]| request(Method::GET, headers);
    for request in [
        request(Method::HEAD, &[]),
        get(&[("sec-purpose", "prefetch")]),
        get(&[("sec-purpose", "prefetch;prerender")]),
        get(&[("sec-purpose", "Prefetch; anonymous-client-ip")]),
        get(&[("sec-purpose", "prerender")]),
        get(&[("purpose", "prefetch")]),
    ] {
        let description = format!("{request:?}");
        let left = messages_after(config(), request, StatusCode::OK).await;
        assert_eq!(left, (json!({"m": 1}), 0), "{description}");
    }
}

#[tokio::test]
async fn visible_requests_consume_the_messages() {
    for request in [
        request(Method::GET, &[]),
        request(Method::POST, &[]),
        request(Method::GET, &[("sec-purpose", "prefetching")]),
        request(Method::GET, &[("purpose", "preview")]),
    ] {
        let left = messages_after(config(), request, StatusCode::OK).await;
        assert_eq!(left, (json!({}), 1));
    }
}

#[tokio::test]
async fn an_invisible_request_that_writes_keeps_the_messages() {
    let server = test_server(config());
    let mut browser = browser_with_message(&server).await;
    let head = || request(Method::HEAD, &[]);
    let mut other = browser.clone();
    browser
        .send(head(), response(StatusCode::OK), async |s| {
            s.load().await.unwrap().put("a", 1).unwrap();
            s.commit().await.unwrap();
            s.flash("n", 2).unwrap();
            // The final commit is rebased onto this one.
            let put = async |s: Session| s.load().await.unwrap().put("b", 1).unwrap();
            other.send(head(), response(StatusCode::OK), put).await;
        })
        .await;
    let (all, flash) = browser
        .visit(async |s| (object(s), flash_messages(s).await))
        .await;
    assert_eq!(all, json!({"a": 1, "b": 1}));
    assert_eq!(flash, json!({"m": 1, "n": 2}));
}

#[tokio::test]
async fn redirects_leave_the_messages_by_configuration() {
    let get = || request(Method::GET, &[]);
    let keeping = || config().keep_flash_on_redirect(true);
    for status in [StatusCode::SEE_OTHER, StatusCode::FOUND] {
        let left = messages_after(keeping(), get(), status).await;
        assert_eq!(left, (json!({"m": 1}), 0), "{status}");
        let left = messages_after(config(), get(), status).await;
        assert_eq!(left, (json!({}), 1), "{status}");
    }
    let left = messages_after(keeping(), get(), StatusCode::OK).await;
    assert_eq!(left, (json!({}), 1));
}

#[tokio::test]
async fn a_redirect_adds_its_messages() {
    let server = test_server(config().keep_flash_on_redirect(true));
    let mut browser = browser_with_message(&server).await;
    browser
        .request_with(response(StatusCode::SEE_OTHER), async |s| {
            s.load().await.unwrap().flash("n", 2).unwrap();
        })
        .await;
    let flash = browser.visit(async |s| flash_messages(s).await).await;
    assert_eq!(flash, json!({"m": 1, "n": 2}));
}

#[tokio::test]
async fn messages_that_redirects_keep_have_the_limit() {
    let limits = ChangeLimits::default().document(1000);
    let server = test_server(config().keep_flash_on_redirect(true).limits(limits));
    let mut browser = server.browser();
    for n in 0..20 {
        browser
            .request_with(response(StatusCode::SEE_OTHER), async |s| {
                let key = format!("message {n}");
                let text = "x".repeat(150);
                s.load().await.unwrap().flash(key.as_str(), text).unwrap();
            })
            .await;
    }
    let flash = browser.visit(async |s| flash_messages(s).await).await;
    assert!(flash.to_string().len() <= 1000);
    assert!(flash["message 19"].is_string(), "new messages are stored");
}

#[tokio::test]
async fn a_load_for_writing_after_one_for_reading_consumes_the_messages() {
    for is_invisible in [false, true] {
        let server = test_server(config());
        let mut browser = browser_with_message(&server).await;
        let method = if is_invisible {
            Method::HEAD
        } else {
            Method::GET
        };
        let load = async |s: Session| {
            s.load_read_only().await.unwrap();
            s.load().await.unwrap();
        };
        let request = request(method, &[]);
        browser.send(request, response(StatusCode::OK), load).await;
        let flash = browser.visit(async |s| flash_messages(s).await).await;
        assert_eq!(
            flash,
            if is_invisible {
                json!({"m": 1})
            } else {
                json!({})
            }
        );
    }
}
