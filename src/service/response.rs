//! What a response says of its session.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, SET_COOKIE, VARY},
};

use super::body::SessionBody;
use crate::session::{SessionFailure, SessionOutcome};

/// Adds the session's headers to the inner service's response, or where the session could not be
/// read or stored, to the one that replaces it.
pub(super) fn finish<B>(
    response: Response<B>,
    outcome: SessionOutcome,
) -> Response<SessionBody<B>> {
    let mut response = match outcome.failure {
        None => response.map(SessionBody::new),
        Some(SessionFailure::TooLarge) => replaced(StatusCode::INTERNAL_SERVER_ERROR),
        Some(SessionFailure::Unavailable) => unavailable(),
    };
    let headers = response.headers_mut();
    let sets = outcome.cookie.is_some() || outcome.data.is_some();
    if outcome.accessed || sets {
        vary_by_cookie(headers);
    }
    if sets && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(cookie) = outcome.cookie {
        set_cookie(headers, cookie);
    }
    if let Some(data) = outcome.data {
        data.into_iter()
            .for_each(|cookie| set_cookie(headers, cookie));
    }
    response
}

fn set_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    remove_same_name(headers, &cookie);
    headers.append(SET_COOKIE, cookie);
}

/// The answer where a session could not be read or stored: 503, with nothing of the handler's.
pub(super) fn unavailable<B>() -> Response<SessionBody<B>> {
    replaced(StatusCode::SERVICE_UNAVAILABLE)
}

fn replaced<B>(status: StatusCode) -> Response<SessionBody<B>> {
    let mut response = Response::new(SessionBody::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A shared cache must not hand one visitor's page to another (RFC 9110, 12.5.5).
fn vary_by_cookie(headers: &mut HeaderMap) {
    let named = |line: &HeaderValue| {
        line.as_bytes().split(|byte| *byte == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"cookie")
        })
    };
    if !headers.get_all(VARY).iter().any(named) {
        headers.append(VARY, HeaderValue::from_static("cookie"));
    }
}

/// One response never sets a cookie twice (RFC 6265bis, 4.1.1): ours replaces one of its name.
fn remove_same_name(headers: &mut HeaderMap, cookie: &HeaderValue) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let name = cookie_name(cookie);
    if headers
        .get_all(SET_COOKIE)
        .iter()
        .all(|other| cookie_name(other) != name)
    {
        return;
    }
    let others: Vec<HeaderValue> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|other| cookie_name(other) != name)
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);
    for other in others {
        headers.append(SET_COOKIE, other);
    }
}

fn cookie_name(cookie: &HeaderValue) -> &[u8] {
    let end = cookie
        .as_bytes()
        .iter()
        .position(|byte| matches!(byte, b'=' | b';'));
    cookie
        .as_bytes()
        .get(..end.unwrap_or(cookie.len()))
        .unwrap_or_default()
        .trim_ascii()
}
