//! Requests and responses.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper_session::{SessionConfig, session::CookiePolicy};

pub(crate) type Body = Full<Bytes>;

/// Returns the default configuration with a cookie policy.
pub(crate) fn config(policy: CookiePolicy) -> SessionConfig {
    SessionConfig::default()
        .app_key("sixty-four hexadecimal digits would do as well as this")
        .cookie_policy(policy)
}

/// Returns a request without cookies.
pub(crate) fn plain() -> Request<Body> {
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

/// Returns a request with six cookies in 400 bytes. The fourth is the session's, `name=value`.
pub(crate) fn with_cookie(session: &str) -> Request<Body> {
    let mut request = plain();
    request
        .headers_mut()
        .insert(header::COOKIE, cookie_line(session));
    request
}

/// Returns a line of six cookies in 400 bytes. The fourth is the session's, `name=value`.
pub(crate) fn cookie_line(session: &str) -> HeaderValue {
    let before = "_ga=GA1.2.1404958363.1760000000; _gid=GA1.2.733481929.1760000001; consent=analytics.no-ads.no";
    let mut line = format!("{before}; {session}; lang=en-GB; _trace=");
    let padding = 400_usize.saturating_sub(line.len());
    line += &"0123456789abcdef".repeat(padding.div_ceil(16))[..padding];
    HeaderValue::try_from(line).expect("a cookie is visible ASCII")
}

/// Returns the response of every handler.
pub(crate) fn response() -> Response<Body> {
    let mut response = Response::new(Body::from("ok"));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
