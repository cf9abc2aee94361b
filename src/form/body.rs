//! A body: somebody else's, or a text of ours in its place.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a request or a response that passed [`Forms`](super::Forms).
    ///
    /// In a request it is the body that came, or empty where the form was read already, to check its
    /// token: [`Input`](super::Input) finds it. In a response it is the handler's, or the answer to an
    /// error.
    #[derive(Clone, Debug, Default)]
    pub struct FormBody<B> {
        #[pin]
        inner: Option<B>,
        own: Bytes,
    }
}

impl<B> FormBody<B> {
    pub(super) const fn read() -> Self {
        Self {
            inner: None,
            own: Bytes::new(),
        }
    }

    /// The body that came, if it is still there.
    pub fn into_inner(self) -> Option<B> {
        self.inner
    }
}

impl<B> From<B> for FormBody<B> {
    fn from(inner: B) -> Self {
        Self {
            inner: Some(inner),
            own: Bytes::new(),
        }
    }
}

/// A text of ours.
pub(super) fn from_foreign_id<B>(text: String) -> FormBody<B> {
    FormBody {
        inner: None,
        own: text.into(),
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
        let own = std::mem::take(this.own);
        Poll::Ready((!own.is_empty()).then(|| Ok(Frame::data(own.into()))))
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.map_or(self.own.is_empty(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        inner.map_or_else(
            || SizeHint::with_exact(self.own.len() as u64),
            Body::size_hint,
        )
    }
}
