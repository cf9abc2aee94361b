//! Files that every visitor gets alike.

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

/// The file at this path.
pub(crate) fn find(path: &str) -> Option<Page> {
    let (_, kind, text) = FILES.iter().find(|(known, _, _)| *known == path)?;
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    pages::protect(&mut response);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    Some(response)
}
