//! A request of a test.

use std::{error::Error, fmt, fmt::Write, panic::Location};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{
        CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ORIGIN,
        TRANSFER_ENCODING,
    },
};
use http_body::Body;
use hyper::{body::Incoming, service::Service};
use serde::Serialize;

use super::{browser::Browser, response::TestResponse, sent_request::SentRequest};

/// A request of a [`TestClient`](super::TestClient). It is sent by [`send`](Self::send).
///
/// The client adds its cookies and the headers of a browser: `Host`, `Accept`, `Referer`,
/// `Sec-Fetch-Site`, and `Origin` for methods other than GET and HEAD. A header that the test sets itself
/// replaces the browser's.
#[must_use = "call `send` to send the request"]
pub struct TestRequest<'c, S> {
    browser: &'c Browser<S>,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    caller: &'static Location<'static>,
}

impl<'c, S> TestRequest<'c, S> {
    pub(super) fn new(
        browser: &'c Browser<S>,
        method: Method,
        path: &str,
        caller: &'static Location<'static>,
    ) -> Self {
        Self {
            browser,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            caller,
        }
    }

    /// Creates the request that follows a redirect to `path`: the one that was sent, with the new method.
    /// Without a body it also has no headers about one.
    pub(super) fn redirected(
        browser: &'c Browser<S>,
        sent: &SentRequest,
        method: Method,
        path: &str,
        caller: &'static Location<'static>,
    ) -> Self {
        let mut request = Self::new(browser, method, path, caller);
        request.headers = sent.headers.clone();
        if request.method == sent.method {
            request.body = sent.body.clone();
            return request;
        }
        for name in [
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
            CONTENT_LENGTH,
            CONTENT_LOCATION,
            CONTENT_TYPE,
            ORIGIN,
            TRANSFER_ENCODING,
        ] {
            request.headers.remove(name);
        }
        request
    }

    /// Sets a header.
    ///
    /// # Panics
    /// If `name` or `value` is not valid in HTTP.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            panic!("header {name:?} is invalid");
        };
        self.headers.insert(name, value);
        self
    }

    /// Sets the body. Its `Content-Type` is a header of its own.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body.
    ///
    /// # Panics
    /// If `value` has no JSON form.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.body = match serde_json::to_vec(value) {
            Ok(body) => body.into(),
            Err(error) => panic!("body has no JSON form: {error}"),
        };
        self.with_type("application/json")
    }

    /// Sets the fields of an HTML form as the body.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(
        mut self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            encode(name.as_ref(), &mut body);
            body.push('=');
            encode(value.as_ref(), &mut body);
        }
        self.body = body.into();
        self.with_type("application/x-www-form-urlencoded")
    }

    fn with_type(mut self, content_type: &'static str) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        self.headers.entry(CONTENT_TYPE).or_insert(content_type);
        self
    }

    /// Sends the request and returns the response with its whole body. It waits for the end of the body, so
    /// a stream of server-sent events must end.
    ///
    /// # Panics
    /// If the path is invalid, or if the service fails instead of responding. The message has the error.
    pub async fn send<B>(self) -> TestResponse
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (path, caller) = (&self.path, self.caller);
        let url = self.browser.url(path).unwrap_or_else(|| {
            panic!("{caller}: path {path:?} is invalid; begin it with `/`, and percent-encode it")
        });
        let sent = SentRequest {
            method: self.method,
            url,
            headers: self.headers,
            body: self.body,
        };
        self.browser.send(sent, caller).await
    }
}

impl<S> fmt::Debug for TestRequest<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Appends a text as `application/x-www-form-urlencoded`.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => out.push(byte.into()),
            // Writing to a `String` does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}
