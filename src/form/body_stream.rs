//! A request body as a stream of large chunks, with a size limit, for the multipart parser.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http_body::Body;

use super::error::{BoxError, InputError, InputErrorKind};

/// Minimum size of a chunk. The parser keeps the bytes that it has not parsed yet.
const MIN_CHUNK: usize = 16 * 1024;
/// Bytes that the parser may buffer above the byte limit, for headers and boundaries.
const OVERHEAD: u64 = 64 * 1024;

type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// The chunks of a body, which the parser reads. Clones share them.
///
/// Each poll of the parser scans its whole buffer. So [`drive`](Self::drive) polls it only when the
/// next full chunk or the end is available, however small the frames of the body are.
#[derive(Clone)]
pub(super) struct BodyStream(Arc<Mutex<ChunkBuffer>>);

struct ChunkBuffer {
    body: ByteStream,
    frame: Bytes,
    chunk: BytesMut,
    chunk_size: usize,
    /// Number of bytes that the parser may still receive.
    remaining: u64,
    limit: u64,
    /// `Some` after the end of the body. Holds the error until the parser receives it.
    end: Option<Option<BoxError>>,
    /// The item for the parser to take; `Some(None)` is the end.
    next: Option<Option<Result<Bytes, BoxError>>>,
    /// The parser has received the end.
    ended: bool,
}

impl BodyStream {
    pub(super) fn new<B>(body: B, limit: u64) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Box::pin(body);
        let frames = stream::poll_fn(move |cx| {
            let data = ready!(next_data(body.as_mut(), cx));
            Poll::Ready(data.map(|data| data.map_err(Into::into)))
        });
        // With this size, the parser scans each byte at most about seventy times.
        let chunk_size = usize::try_from(limit / 64).map_or(usize::MAX, |size| size.max(MIN_CHUNK));
        Self(Arc::new(Mutex::new(ChunkBuffer {
            body: Box::pin(frames),
            frame: Bytes::new(),
            chunk: BytesMut::new(),
            chunk_size,
            remaining: limit.saturating_add(OVERHEAD),
            limit,
            end: None,
            next: None,
            ended: false,
        })))
    }

    /// Returns the stream that the parser reads. It registers no waker: [`drive`](Self::drive) polls
    /// the parser when the next chunk is ready.
    pub(super) fn stream(&self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        let shared = self.clone();
        stream::poll_fn(move |_| {
            let next = shared.buffer().next.take();
            next.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Drives the parser. Provides another chunk each time the parser is pending.
    pub(super) async fn drive<T>(
        &self,
        parser: impl Future<Output = Result<T, multer::Error>>,
    ) -> Result<T, multer::Error> {
        let mut parser = pin!(parser);
        let mut needs_chunk = false;
        poll_fn(|cx| {
            loop {
                if needs_chunk && !ready!(self.buffer().poll_fill(cx)) {
                    return Poll::Ready(Err(multer::Error::IncompleteStream));
                }
                if let Poll::Ready(output) = parser.as_mut().poll(cx) {
                    return Poll::Ready(output);
                }
                needs_chunk = true;
            }
        })
        .await
    }

    /// Raises the limit by the number of bytes that the parser has returned and no longer buffers.
    pub(super) fn release(&self, bytes: u64) {
        let mut buffer = self.buffer();
        buffer.remaining = buffer.remaining.saturating_add(bytes);
    }

    fn buffer(&self) -> MutexGuard<'_, ChunkBuffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkBuffer {
    /// Makes the next item available. Returns `false` if the parser has received the end already.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.next.is_some() {
            return Poll::Ready(true);
        }
        while self.end.is_none() && !self.fill_chunk() {
            match ready!(self.body.as_mut().poll_next(cx)) {
                Some(Ok(data)) => self.frame = data,
                Some(Err(error)) => self.end = Some(Some(error)),
                None => self.end = Some(None),
            }
        }
        if !self.chunk.is_empty() {
            self.next = Some(Some(self.take_chunk()));
        } else if self.ended {
            return Poll::Ready(false);
        } else {
            let error = self.end.as_mut().and_then(Option::take);
            self.ended = error.is_none();
            self.next = Some(error.map(Err));
        }
        Poll::Ready(true)
    }

    /// Moves bytes of the current frame into the chunk. Returns `true` if the chunk is full.
    fn fill_chunk(&mut self) -> bool {
        let len = self.frame.len().min(self.chunk_size - self.chunk.len());
        self.chunk.extend_from_slice(&self.frame.split_to(len));
        self.chunk.len() == self.chunk_size
    }

    fn take_chunk(&mut self) -> Result<Bytes, BoxError> {
        let chunk = self.chunk.split().freeze();
        match self.remaining.checked_sub(chunk.len() as u64) {
            Some(remaining) => self.remaining = remaining,
            None => {
                let kind = InputErrorKind::too_large("bytes", self.limit);
                return Err(Box::new(InputError::from(kind)));
            }
        }
        Ok(chunk)
    }
}

/// Polls a body for its next non-empty data frame.
pub(super) fn next_data<B: Body>(
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, B::Error>>> {
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(mut data) = frame.into_data()
                    && data.has_remaining()
                {
                    let len = data.remaining();
                    return Poll::Ready(Some(Ok(data.copy_to_bytes(len))));
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
