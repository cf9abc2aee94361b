//! Requests whose response no visitor sees.

use http::{HeaderMap, HeaderName, Method, Request};

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
/// The header of older browsers.
const PURPOSE: HeaderName = HeaderName::from_static("purpose");

/// Returns `true` if no visitor sees the response: for HEAD, and if a browser fetches the page in
/// advance.
pub(super) fn is_invisible<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::HEAD
        || is_prefetch(headers, &SEC_PURPOSE)
        || is_prefetch(headers, &PURPOSE)
}

fn is_prefetch(headers: &HeaderMap, name: &HeaderName) -> bool {
    let is_purpose = |token: &[u8]| {
        let token = token.trim_ascii();
        token.eq_ignore_ascii_case(b"prefetch") || token.eq_ignore_ascii_case(b"prerender")
    };
    headers.get_all(name).iter().any(|value| {
        let mut tokens = value.as_bytes().split(|byte| matches!(byte, b';' | b','));
        tokens.any(is_purpose)
    })
}
