//! The body of a request whose CSRF token is in the body: the check reads it up to the token, then the handler
//! reads it again.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::reader::{PreReadInput, WeakInput};
use crate::sync::lock;

/// A body with the bytes that the check has read from it.
pub(super) struct Recording<B> {
    body: Pin<Box<B>>,
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    is_ended: bool,
    /// The reader of the check, when the check has passed.
    input: Option<WeakInput>,
}

/// A frame of a body, or its error.
type FrameResult<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// A recording that the check and the handler share.
pub(super) type SharedRecording<B> = Arc<Mutex<Recording<B>>>;

/// The body as the check reads it. It records the bytes of the check only, so the limits of the check bound
/// the recording. When the handler continues the reading or drops the [`ReplayBody`], the recording ends.
pub(super) struct BodyRecorder<B>(SharedRecording<B>);

impl<B> BodyRecorder<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(Recording {
            body: Box::pin(body),
            bytes: BytesMut::new(),
            trailers: None,
            is_ended: false,
            input: None,
        })))
    }

    pub(super) fn recording(&self) -> SharedRecording<B> {
        self.0.clone()
    }
}

impl<B: Body> Body for BodyRecorder<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let has_replay = Arc::strong_count(&self.0) > 1;
        let mut recording = lock(&self.0);
        let is_checked = recording.input.as_ref().is_some_and(WeakInput::is_taken);
        let is_recording = has_replay && !is_checked;
        if !is_recording {
            recording.bytes = BytesMut::new();
        }
        let Some(frame) = ready!(recording.poll_rest(cx)?) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        if is_recording {
            recording.record(&frame);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_rest_ended()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.size_hint()
    }
}

impl<B: Body> Recording<B> {
    fn record(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.bytes.extend_from_slice(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
    }

    /// Polls the rest of the body.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<FrameResult<B>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        self.is_ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_rest_ended(&self) -> bool {
        self.is_ended || self.body.is_end_stream()
    }
}

/// The body as the handler reads it: the recording, and then the rest.
///
/// [`Input`](super::Input) continues the reading of the check, and this body begins again at the start. The one
/// that the handler uses first gets the bytes.
pub(super) struct ReplayBody<B> {
    input: PreReadInput,
    recording: SharedRecording<B>,
    has_begun: bool,
}

impl<B> ReplayBody<B> {
    pub(super) fn new(input: PreReadInput, recording: SharedRecording<B>) -> Self {
        lock(&recording).input = Some(input.downgrade());
        Self {
            input,
            recording,
            has_begun: false,
        }
    }

    /// Returns `true` if `Input` has taken the bytes.
    fn is_taken(&self) -> bool {
        !self.has_begun && self.input.is_taken()
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if !self.has_begun {
            self.has_begun = self.input.discard();
            if !self.has_begun {
                return Poll::Ready(None);
            }
        }
        let mut recording = lock(&self.recording);
        if !recording.bytes.is_empty() {
            let bytes = recording.bytes.split().freeze();
            return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
        }
        if let Some(trailers) = recording.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        recording.poll_rest(cx)
    }

    fn is_end_stream(&self) -> bool {
        let recording = lock(&self.recording);
        let is_replayed = recording.bytes.is_empty() && recording.trailers.is_none();
        self.is_taken() || is_replayed && recording.is_rest_ended()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_taken() {
            return SizeHint::with_exact(0);
        }
        let recording = lock(&self.recording);
        let replayed = recording.bytes.len() as u64;
        let rest = match recording.is_ended {
            true => SizeHint::with_exact(0),
            false => recording.body.size_hint(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(replayed.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(replayed.saturating_add(upper));
        }
        hint
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}
