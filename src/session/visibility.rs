//! Requests whose response no visitor sees.

use http::HeaderValue;

/// Returns `true` if a browser with this `Sec-Purpose` fetches the page in advance. Older browsers send
/// `Purpose`.
pub(crate) fn is_prefetch(purpose: &HeaderValue) -> bool {
    let mut tokens = purpose.as_bytes().split(|byte| matches!(byte, b';' | b','));
    tokens.any(|token| {
        let token = token.trim_ascii();
        token.eq_ignore_ascii_case(b"prefetch") || token.eq_ignore_ascii_case(b"prerender")
    })
}
