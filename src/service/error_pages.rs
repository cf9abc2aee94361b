//! A hook that renders the error responses of sessions and forms.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_TYPE, SET_COOKIE},
};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::{failure::RequestFailure, request_info::RequestInfo};

/// The headers that describe the body of a response. They are removed with it.
const BODY_HEADERS: [&str; 15] = [
    "accept-ranges",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
    "trailer",
    "transfer-encoding",
];

type Render = dyn Fn(&RequestFailure<'_>) -> Option<Response<String>> + Send + Sync;

/// A hook that renders the error responses of sessions and forms, as a page or as JSON.
///
/// It is outside of [`Sessions`](super::Sessions): `pages.wrap(sessions.wrap(service))`, or for tower and axum
/// `.layer(sessions.layer()).layer(pages.layer())`.
///
/// It is called for the responses of this crate with these statuses:
///
/// | status | reason |
/// | --- | --- |
/// | 403 | the CSRF check failed (`form::Forms`) |
/// | 409 | a change does not fit a change of another request |
/// | 500 | the session is too large, or sessions are set up wrongly |
/// | 503 | the store failed, or too many requests change one session; a retry may succeed |
/// | 400, 413, 415 | `form::Input` rejected the input |
///
/// Responses of handlers pass unchanged, whatever their status is. So does a redirect to an invalid form.
///
/// ```
/// use http::Response;
/// use hyper_session::service::{ErrorPages, Messages};
///
/// let english = Messages::default();
/// let pages = ErrorPages::new(move |failure| {
///     let message = failure.message(&english);
///     let response = match failure.request().wants_json() {
///         true => Response::builder()
///             .header("content-type", "application/json")
///             .body(serde_json::json!({ "message": message }).to_string()),
///         false => Response::builder().body(format!("<!doctype html><title>Error</title><p>{message}")),
///     };
///     response.ok()
/// });
/// # let _ = pages;
/// ```
#[derive(Clone)]
pub struct ErrorPages(Arc<Render>);

impl ErrorPages {
    /// Creates a hook. `render` returns the page, or `None` to keep the response.
    ///
    /// The response keeps its status and its headers, such as `Set-Cookie` and `Retry-After`. The page
    /// replaces its body and the headers that describe the body, such as `Content-Encoding` and `ETag`. The
    /// page's other headers replace headers of the same name. A page without a `Content-Type` is HTML.
    pub fn new(
        render: impl Fn(&RequestFailure<'_>) -> Option<Response<String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(render))
    }

    /// Wraps a service of hyper or tower.
    pub fn wrap<S>(&self, inner: S) -> ErrorPageService<S> {
        ErrorPageService {
            inner,
            pages: self.clone(),
        }
    }

    /// Returns the response with its page, if it has a failure.
    fn finish<B>(
        &self,
        response: Response<B>,
        request: &RequestInfo,
    ) -> Response<ErrorPageBody<B>> {
        let failure = RequestFailure::from_response(&response, request);
        let page = failure.and_then(|failure| (self.0)(&failure));
        let Some(page) = page else {
            return response.map(ErrorPageBody::inner);
        };
        let (mut head, _) = response.into_parts();
        let (page_head, text) = page.into_parts();
        for name in BODY_HEADERS {
            head.headers.remove(name);
        }
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        head.headers.insert(CONTENT_TYPE, html);
        for (name, value) in &page_head.headers {
            if name == SET_COOKIE {
                head.headers.append(name, value.clone());
            } else {
                head.headers.insert(name, value.clone());
            }
        }
        Response::from_parts(head, ErrorPageBody::text(text.into()))
    }
}

impl fmt::Debug for ErrorPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorPages").finish_non_exhaustive()
    }
}

/// A service wrapped in [`ErrorPages`].
///
/// It is a hyper service. With the feature `tower` it is also a `tower::Service`, if the inner service
/// is one.
#[derive(Clone, Debug)]
pub struct ErrorPageService<S> {
    pub(super) inner: S,
    pub(super) pages: ErrorPages,
}

impl<S, In, Out> Service<Request<In>> for ErrorPageService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<ErrorPageBody<Out>>;
    type Error = S::Error;
    type Future = ErrorPageFuture<S::Future>;

    fn call(&self, request: Request<In>) -> Self::Future {
        let info = RequestInfo::new(&request);
        ErrorPageFuture::new(self.inner.call(request), info, self.pages.clone())
    }
}

pin_project! {
    /// The future of a service wrapped in [`ErrorPages`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct ErrorPageFuture<F> {
        #[pin]
        inner: F,
        request: RequestInfo,
        pages: ErrorPages,
    }
}

impl<F> ErrorPageFuture<F> {
    pub(super) const fn new(inner: F, request: RequestInfo, pages: ErrorPages) -> Self {
        Self {
            inner,
            request,
            pages,
        }
    }
}

impl<F, B, E> Future for ErrorPageFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ErrorPageBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        Poll::Ready(result.map(|response| this.pages.finish(response, this.request)))
    }
}

pin_project! {
    /// The inner service's body, or an error page.
    #[derive(Debug)]
    pub struct ErrorPageBody<B> {
        #[pin]
        inner: Option<B>,
        page: Bytes,
    }
}

impl<B> ErrorPageBody<B> {
    const fn inner(inner: B) -> Self {
        Self {
            inner: Some(inner),
            page: Bytes::new(),
        }
    }

    const fn text(page: Bytes) -> Self {
        Self { inner: None, page }
    }

    /// Returns the inner service's body; `None` for an error page.
    pub fn into_inner(self) -> Option<B> {
        self.inner
    }
}

impl<B> Body for ErrorPageBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => {
                let page = std::mem::take(this.page);
                Poll::Ready((!page.is_empty()).then(|| Ok(Frame::data(page.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => self.page.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(self.page.len() as u64),
        }
    }
}
