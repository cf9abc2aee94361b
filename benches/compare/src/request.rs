//! The requests to the contenders, and the response of the service.

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;

pub type Body = Full<Bytes>;

/// The name of every contender's session cookie.
pub const COOKIE: &str = "session";

/// The length of the Cookie header; longer if the session's own cookie is too long for it.
const COOKIE_HEADER: usize = 400;

/// Requests of one or many visitors, sent in turn, again and again.
pub struct Visitors {
    requests: Vec<Request<Body>>,
    next: usize,
}

impl Visitors {
    /// Copies the next request.
    pub fn next(&mut self) -> Request<Body> {
        let request = self.requests[self.next].clone();
        self.next = (self.next + 1) % self.requests.len();
        request
    }

    /// Returns all requests.
    pub fn requests(&self) -> &[Request<Body>] {
        &self.requests
    }
}

impl From<Request<Body>> for Visitors {
    fn from(request: Request<Body>) -> Self {
        Self::from(vec![request])
    }
}

impl From<Vec<Request<Body>>> for Visitors {
    fn from(requests: Vec<Request<Body>>) -> Self {
        Self { requests, next: 0 }
    }
}

/// Returns a request without cookies.
pub fn plain() -> Request<Body> {
    Request::get("/articles/7")
        .header(header::HOST, "www.example.org")
        .header(
            header::USER_AGENT,
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
        )
        .header(
            header::ACCEPT,
            "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        )
        .body(Body::default())
        .expect("the parts are well formed")
}

/// Returns a request with six cookies; the fourth is the session's.
pub fn with_cookie(session: &str) -> Request<Body> {
    let header = cookie_header(session);
    let mut request = plain();
    let value = HeaderValue::try_from(header).expect("a cookie is visible ASCII");
    request.headers_mut().insert(header::COOKIE, value);
    request
}

/// Returns the value of a Cookie header with six cookies; the fourth is the session's.
pub fn cookie_header(session: &str) -> String {
    let before = "_ga=GA1.2.1404958363.1760000000; _gid=GA1.2.733481929.1760000001; consent=analytics.no-ads.no";
    let after = "lang=en-GB; _trace=";
    let filled = before.len() + 2 + session.len() + 2 + after.len();
    let padding = "0123456789abcdef".chars().cycle();
    let padding: String = padding
        .take(COOKIE_HEADER.saturating_sub(filled).max(8))
        .collect();
    format!("{before}; {session}; {after}{padding}")
}

/// Returns the `name=value` of the session's cookie from a response's Set-Cookie headers. Cookies whose
/// names start with the session cookie's name are included, separated by `; `.
pub fn session_cookie<'a>(set_cookies: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let pairs = set_cookies.filter_map(|header| {
        let pair = std::str::from_utf8(header).ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        (name.starts_with(COOKIE) && !value.is_empty()).then_some(pair)
    });
    let cookies = pairs.collect::<Vec<_>>().join("; ");
    (!cookies.is_empty()).then_some(cookies)
}

/// Returns the response of every handler.
pub fn response() -> Response<Body> {
    let mut response = Response::new(Body::from("ok"));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

thread_local! {
    static SEEN: Cell<i64> = const { Cell::new(0) };
}

/// Stores the number that the handler found, for the check.
pub fn set_seen(number: i64) {
    SEEN.set(number);
}

/// Takes the last number that a handler found; 0 if none since the last call.
pub fn take_seen() -> i64 {
    SEEN.take()
}
