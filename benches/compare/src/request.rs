//! What the contenders are sent, and the service that answers.

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;

pub type Body = Full<Bytes>;

/// The name of every contender's session cookie.
pub const COOKIE: &str = "session";

/// The length of the Cookie header, unless the session's own cookie leaves no room for it.
const COOKIE_HEADER: usize = 400;

/// Requests of one visitor or of many, sent in turn and over again.
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

    /// The requests without their order.
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

/// A request without cookies.
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

/// A request with six cookies, the fourth of which is the session's.
pub fn with_cookie(session: &str) -> Request<Body> {
    let header = cookie_header(session);
    let mut request = plain();
    let value = HeaderValue::try_from(header).expect("a cookie is visible ASCII");
    request.headers_mut().insert(header::COOKIE, value);
    request
}

fn cookie_header(session: &str) -> String {
    let before = "_ga=GA1.2.1404958363.1760000000; _gid=GA1.2.733481929.1760000001; consent=analytics.no-ads.no";
    let after = "lang=en-GB; _trace=";
    let filled = before.len() + 2 + session.len() + 2 + after.len();
    let padding = "0123456789abcdef".chars().cycle();
    let padding: String = padding
        .take(COOKIE_HEADER.saturating_sub(filled).max(8))
        .collect();
    format!("{before}; {session}; {after}{padding}")
}

/// The `name=value` of the session's cookie in a response's Set-Cookie headers; of all of them, with
/// `; ` between, where the names of others begin with that of the first.
pub fn session_cookie<'a>(set_cookies: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let pairs = set_cookies.filter_map(|header| {
        let pair = std::str::from_utf8(header).ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        (name.starts_with(COOKIE) && !value.is_empty()).then_some(pair)
    });
    let cookies = pairs.collect::<Vec<_>>().join("; ");
    (!cookies.is_empty()).then_some(cookies)
}

/// The answer of every handler.
pub fn answer() -> Response<Body> {
    let mut response = Response::new(Body::from("ok"));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

thread_local! {
    static SEEN: Cell<i64> = const { Cell::new(0) };
}

/// Tells the check which number the handler found.
pub fn saw(number: i64) {
    SEEN.set(number);
}

/// The number that a handler found since this was last asked; 0 for none.
pub fn seen() -> i64 {
    SEEN.take()
}
