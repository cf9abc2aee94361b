//! Static files.

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;

use super::{Page, pages};

const FILES: [(&str, &str, &str); 3] = [
    (
        "/assets/site.css",
        "text/css; charset=utf-8",
        include_str!("assets/site.css"),
    ),
    (
        "/assets/cart.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/cart.js"),
    ),
    (
        "/assets/icon.svg",
        "image/svg+xml",
        include_str!("assets/icon.svg"),
    ),
];

/// Returns the static file at this path.
pub(crate) fn find(path: &str) -> Option<Page> {
    let (_, content_type, text) = FILES.iter().find(|(name, _, _)| *name == path)?;
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    pages::add_security_headers(&mut response);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    Some(response)
}
