//! A body that is passed on frame by frame, with a timeout.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};

use crate::BoxError;

/// The error of a sender that was silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("sender is silent: no data for {0:?}")]
pub(crate) struct SilentSender(pub(crate) Duration);

/// The time of the last data of an upload or a tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    start: Instant,
    /// In milliseconds after the start.
    last: Arc<AtomicU64>,
    /// The receiver waits for the sender.
    is_waiting: Arc<AtomicBool>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
            is_waiting: Arc::default(),
        }
    }

    /// Records data.
    pub(crate) fn record(&self) {
        let elapsed = self.start.elapsed().as_millis();
        self.last
            .store(u64::try_from(elapsed).unwrap_or(u64::MAX), Relaxed);
        self.is_waiting.store(false, Relaxed);
    }

    /// Returns `true` if the receiver of an upload waits for its sender, and not the other way round.
    pub(crate) fn waits_for_sender(&self) -> bool {
        self.is_waiting.load(Relaxed)
    }

    /// Returns when there was no data for this time.
    pub(crate) async fn silence(&self, timeout: Duration) {
        loop {
            let last = self.start + Duration::from_millis(self.last.load(Relaxed));
            if last.elapsed() >= timeout {
                return;
            }
            tokio::time::sleep_until(last + timeout).await;
        }
    }
}

/// A body of the client or of the upstream server. It fails if its sender is silent for too long. Nothing
/// is buffered, so a slow receiver slows down the sender.
pub(crate) struct StreamedBody {
    inner: Incoming,
    timeout: Duration,
    /// The end of the timeout. Created at the first wait, and set again at each further one.
    silence: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    progress: Option<Progress>,
    clean_trailers: fn(&mut HeaderMap),
    /// Kept until the bodies of the request and of the response have ended.
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl StreamedBody {
    /// Returns a request's body.
    pub(crate) fn request(
        inner: Incoming,
        timeout: Duration,
        permit: Arc<OwnedSemaphorePermit>,
        progress: Progress,
        clean_trailers: fn(&mut HeaderMap),
    ) -> Self {
        Self {
            inner,
            timeout,
            silence: None,
            is_waiting: false,
            progress: Some(progress),
            clean_trailers,
            permit: Some(permit),
        }
    }

    /// Returns a response's body.
    pub(crate) fn response(
        inner: Incoming,
        timeout: Duration,
        permit: Arc<OwnedSemaphorePermit>,
        clean_trailers: fn(&mut HeaderMap),
    ) -> Self {
        Self {
            inner,
            timeout,
            silence: None,
            is_waiting: false,
            progress: None,
            clean_trailers,
            permit: Some(permit),
        }
    }
}

impl StreamedBody {
    /// Completes when the sender is silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if !std::mem::replace(&mut self.is_waiting, true) {
            if let Some(progress) = &self.progress {
                progress.is_waiting.store(true, Relaxed);
            }
            silence.as_mut().reset(Instant::now() + timeout);
        }
        silence.as_mut().poll(cx)
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.poll_silence(cx));
            return Poll::Ready(Some(Err(SilentSender(this.timeout).into())));
        };
        this.is_waiting = false;
        if let Some(progress) = &this.progress {
            progress.record();
        }
        let Some(frame) = frame else {
            this.permit.take();
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match frame {
            Ok(mut frame) => {
                frame.trailers_mut().map(this.clean_trailers);
                Ok(frame)
            }
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
