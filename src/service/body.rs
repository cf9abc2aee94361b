//! The body of a response: the inner service's body, or an empty one.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The inner service's body, or an empty body.
    ///
    /// It is empty if an error response replaces the inner service's response, because the session
    /// could not be read or stored.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct SessionBody<B> {
        #[pin]
        inner: Option<B>,
    }
}

impl<B> SessionBody<B> {
    pub(super) const fn new(inner: B) -> Self {
        Self { inner: Some(inner) }
    }

    pub(super) const fn empty() -> Self {
        Self { inner: None }
    }

    /// Returns the inner service's body; `None` in an error response.
    pub fn into_inner(self) -> Option<B> {
        self.inner
    }
}

impl<B> From<B> for SessionBody<B> {
    fn from(inner: B) -> Self {
        Self::new(inner)
    }
}

impl<B: Body> Body for SessionBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project()
            .inner
            .as_pin_mut()
            .map_or(Poll::Ready(None), |inner| inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
