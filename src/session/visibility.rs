//! Requests whose response no visitor sees.

use http::{HeaderValue, Method, Request};

/// Returns `true` if no visitor sees the response: for HEAD, and if a browser fetches the page in
/// advance. Older browsers send `Purpose` instead of `Sec-Purpose`.
pub(super) fn is_invisible<B>(request: &Request<B>) -> bool {
    // For a usual number of headers, one pass is faster than two lookups.
    let mut headers = request.headers().iter();
    request.method() == Method::HEAD
        || headers.any(|(name, value)| {
            matches!(name.as_str(), "sec-purpose" | "purpose") && is_prefetch(value)
        })
}

fn is_prefetch(purpose: &HeaderValue) -> bool {
    let mut tokens = purpose.as_bytes().split(|byte| matches!(byte, b';' | b','));
    tokens.any(|token| {
        let token = token.trim_ascii();
        token.eq_ignore_ascii_case(b"prefetch") || token.eq_ignore_ascii_case(b"prerender")
    })
}
