//! The session's headers in a response, and error responses.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, Entry, RETRY_AFTER, SET_COOKIE, VARY},
};

use super::{
    body::SessionBody,
    caching::{SharedCaching, forbid_caching},
    layer_session::SessionLayerConflict,
};
use crate::{
    cookie::set_cookie_name,
    session::{SessionError, SessionOutcome},
};

/// Adds the session's headers to a response that sets no cookie.
#[inline]
pub(super) fn finish_without_cookie(headers: &mut HeaderMap, accessed: bool, changed: bool) {
    if changed && SharedCaching::from_headers(headers) == SharedCaching::Permitted {
        forbid_caching(headers);
    }
    if accessed {
        vary_by_cookie(headers);
    }
}

/// Adds the session's headers to the inner service's response. If the session could not be read or
/// stored, adds them to an error response instead.
pub(super) fn finish_response<B>(
    response: Response<B>,
    mut outcome: SessionOutcome,
) -> Response<SessionBody<B>> {
    let mut response = match outcome.failure.take() {
        None => response.map(SessionBody::new),
        Some(error) => session_failure(*error),
    };
    // A 304 updates the headers of the response that a cache has stored (RFC 9111, 3.2).
    let is_update = response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    let may_set_cookie = outcome.cookie.is_some() || outcome.data.is_some();
    let caching = (may_set_cookie || outcome.changed).then(|| SharedCaching::from_headers(headers));
    let is_cacheable = caching == Some(SharedCaching::Permitted);
    if !outcome.changed && (is_cacheable || is_update) {
        // Visitors behind a shared cache would get this visitor's cookie.
        let omitted = outcome.cookie.take();
        if let Some(renewal) = omitted.and_then(|cookie| cookie.renewal) {
            renewal.release();
        }
        outcome.data = None;
    }
    let sets_cookie = outcome.cookie.is_some() || outcome.data.is_some();
    if outcome.accessed || sets_cookie {
        vary_by_cookie(headers);
    }
    if outcome.changed && is_cacheable {
        forbid_caching(headers);
    } else if sets_cookie && caching == Some(SharedCaching::Unspecified) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(cookie) = outcome.cookie {
        set_cookie(headers, cookie.line);
        for removal in cookie.former_removals.iter().flat_map(|it| it.iter()) {
            headers.append(SET_COOKIE, removal.clone());
        }
    }
    if let Some(data) = outcome.data {
        // The lines may set a cookie and remove it in its former scopes.
        data.iter().for_each(|line| remove_same_name(headers, line));
        data.into_iter()
            .for_each(|line| append_cookie(headers, line));
    }
    response
}

/// Sets a cookie of the session.
fn set_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    remove_same_name(headers, &cookie);
    append_cookie(headers, cookie);
}

/// As a sensitive value, `Debug` hides the cookie and HPACK does not index it.
fn append_cookie(headers: &mut HeaderMap, mut cookie: HeaderValue) {
    cookie.set_sensitive(true);
    headers.append(SET_COOKIE, cookie);
}

/// Returns an empty response with the status of the error, and the error in its extensions.
pub(super) fn session_failure<B>(error: SessionError) -> Response<SessionBody<B>> {
    let mut response = error_response(error.status());
    if let Some(time) = error.retry_after() {
        // In whole seconds, not earlier.
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response.extensions_mut().insert(error);
    response
}

/// Returns a 500 response with the error in its extensions.
pub(super) fn layer_conflict<B>(conflict: SessionLayerConflict) -> Response<SessionBody<B>> {
    let mut response = error_response(StatusCode::INTERNAL_SERVER_ERROR);
    response.extensions_mut().insert(conflict);
    response
}

fn error_response<B>(status: StatusCode) -> Response<SessionBody<B>> {
    let mut response = Response::new(SessionBody::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Prevents a shared cache from serving one visitor's page to another (RFC 9110, 12.5.5).
fn vary_by_cookie(headers: &mut HeaderMap) {
    let covers_cookie = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"cookie")
        })
    };
    let cookie = HeaderValue::from_static("cookie");
    match headers.entry(VARY) {
        Entry::Vacant(entry) => {
            entry.insert(cookie);
        }
        Entry::Occupied(mut entry) => {
            if !entry.iter().any(covers_cookie) {
                entry.append(cookie);
            }
        }
    }
}

/// Removes cookies of the same name: a response must not set one cookie twice (RFC 6265bis, 4.1.1).
fn remove_same_name(headers: &mut HeaderMap, cookie: &HeaderValue) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let name = set_cookie_name(cookie);
    if headers
        .get_all(SET_COOKIE)
        .iter()
        .all(|other| set_cookie_name(other) != name)
    {
        return;
    }
    let others: Vec<HeaderValue> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|other| set_cookie_name(other) != name)
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);
    for other in others {
        headers.append(SET_COOKIE, other);
    }
}
