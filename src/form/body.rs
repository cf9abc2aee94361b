//! A body that is either the wrapped body or text.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a request or a response that passes through [`Forms`](super::Forms).
    ///
    /// In a request, it is the client's body. It is empty if `Forms` has already read the form to
    /// check its CSRF token; [`Input`](super::Input) returns those fields. In a response, it is the
    /// handler's body, or the text of an error response.
    #[derive(Clone, Debug, Default)]
    pub struct FormBody<B> {
        #[pin]
        inner: Option<B>,
        text: Bytes,
    }
}

impl<B> FormBody<B> {
    pub(super) const fn empty() -> Self {
        Self {
            inner: None,
            text: Bytes::new(),
        }
    }

    pub(super) fn from_text(text: String) -> Self {
        Self {
            inner: None,
            text: text.into(),
        }
    }

    /// Returns the wrapped body; `None` if the form has been read or text replaces the body.
    pub fn into_inner(self) -> Option<B> {
        self.inner
    }
}

impl<B> From<B> for FormBody<B> {
    fn from(inner: B) -> Self {
        Self {
            inner: Some(inner),
            text: Bytes::new(),
        }
    }
}

impl<B> Body for FormBody<B>
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
        if let Some(inner) = this.inner.as_pin_mut() {
            return inner.poll_frame(cx);
        }
        let text = std::mem::take(this.text);
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text.into()))))
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.map_or(self.text.is_empty(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        inner.map_or_else(
            || SizeHint::with_exact(self.text.len() as u64),
            Body::size_hint,
        )
    }
}
