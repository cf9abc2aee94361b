//! Requests whose response no visitor sees.

use http::{HeaderName, HeaderValue};

static SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
static PURPOSE: HeaderName = HeaderName::from_static("purpose");

/// Returns `true` for `Sec-Purpose`, and for `Purpose` of older browsers.
#[inline]
pub(super) fn is_purpose(name: &HeaderName) -> bool {
    *name == SEC_PURPOSE || *name == PURPOSE
}

/// Returns `true` if a browser with this `Sec-Purpose` or `Purpose` fetches the page in advance.
pub(crate) fn is_prefetch(purpose: &HeaderValue) -> bool {
    let mut tokens = purpose.as_bytes().split(|byte| matches!(byte, b';' | b','));
    tokens.any(|token| {
        let token = token.trim_ascii();
        token.eq_ignore_ascii_case(b"prefetch") || token.eq_ignore_ascii_case(b"prerender")
    })
}
