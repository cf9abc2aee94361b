//! A request as a test sends it.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;

/// A request without the headers that the browser adds.
#[derive(Debug)]
pub(super) struct SentRequest {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl SentRequest {
    pub(super) fn to_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        // HTTP/1 sends the path only.
        if let Some(path) = self.url.path_and_query() {
            *request.uri_mut() = path.clone().into();
        }
        request
    }
}

/// Method and path, for messages.
impl fmt::Display for SentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.path())
    }
}
