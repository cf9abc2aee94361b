//! A body that is the wrapped body, its replay, or text.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::replay::ReplayBody;

pin_project! {
    /// The body of a request or a response that passes through [`Forms`](super::Forms).
    ///
    /// In a request, it is the client's body. If `Forms` has read the beginning of it to find the
    /// CSRF token, this body replays those bytes and continues with the rest. It is empty if
    /// [`Input`](super::Input) has taken the input that `Forms` read. In a response, it is the
    /// handler's body, or the text of an error response.
    #[derive(Debug)]
    pub struct FormBody<B> {
        #[pin]
        kind: FormBodyKind<B>,
    }
}

pin_project! {
    #[project = FormBodyKindProj]
    #[derive(Debug)]
    enum FormBodyKind<B> {
        Inner { #[pin] body: B },
        Replay { body: ReplayBody<B> },
        Text { text: Bytes },
    }
}

impl<B> FormBody<B> {
    pub(super) const fn from_replay(body: ReplayBody<B>) -> Self {
        Self {
            kind: FormBodyKind::Replay { body },
        }
    }

    pub(super) fn from_text(text: String) -> Self {
        Self {
            kind: FormBodyKind::Text { text: text.into() },
        }
    }

    /// Returns the wrapped body; `None` if `Forms` has read some of it, or text replaces it.
    pub fn into_inner(self) -> Option<B> {
        match self.kind {
            FormBodyKind::Inner { body } => Some(body),
            FormBodyKind::Replay { .. } | FormBodyKind::Text { .. } => None,
        }
    }
}

impl<B> From<B> for FormBody<B> {
    fn from(body: B) -> Self {
        Self {
            kind: FormBodyKind::Inner { body },
        }
    }
}

impl<B> Default for FormBody<B> {
    fn default() -> Self {
        Self::from_text(String::new())
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
        match self.project().kind.project() {
            FormBodyKindProj::Inner { body } => body.poll_frame(cx),
            FormBodyKindProj::Replay { body } => Pin::new(body).poll_frame(cx),
            FormBodyKindProj::Text { text } => {
                let text = std::mem::take(text);
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            FormBodyKind::Inner { body } => body.is_end_stream(),
            FormBodyKind::Replay { body } => body.is_end_stream(),
            FormBodyKind::Text { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            FormBodyKind::Inner { body } => body.size_hint(),
            FormBodyKind::Replay { body } => body.size_hint(),
            FormBodyKind::Text { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}
