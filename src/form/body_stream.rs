//! What a parser is fed with: a body in full pieces, within a limit.

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

/// The parser keeps what it has not understood yet. It is handed pieces of this size at least,
const PIECE: usize = 16 * 1024;
/// and so much more than the limit on bytes, for headers and boundaries.
const OVERHEAD: u64 = 64 * 1024;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// A body on its way to the parser. Clones are the same one.
///
/// The parser looks through all that it keeps whenever it is asked, so it is asked only when there is
/// another full piece for it, or the end: however little comes at a time.
#[derive(Clone)]
pub(super) struct Feed(Arc<Mutex<Store>>);

struct Store {
    body: Chunks,
    waiting: Bytes,
    piece: BytesMut,
    size: usize,
    /// How many more bytes the parser may be handed.
    left: u64,
    limit: u64,
    /// The body's end, with what went wrong if that was not told yet.
    end: Option<Option<BoxError>>,
    /// For the parser to take; nothing in it is the end.
    next: Option<Option<Result<Bytes, BoxError>>>,
    /// The parser was told the end.
    ended: bool,
}

impl Feed {
    pub(super) fn new<B>(body: B, limit: u64) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Box::pin(body);
        let chunks = stream::poll_fn(move |cx| {
            let data = ready!(next_data(body.as_mut(), cx));
            Poll::Ready(data.map(|data| data.map_err(Into::into)))
        });
        // So that the parser looks at most some seventy times through the same bytes.
        let size = usize::try_from(limit / 64).map_or(usize::MAX, |size| size.max(PIECE));
        Self(Arc::new(Mutex::new(Store {
            body: Box::pin(chunks),
            waiting: Bytes::new(),
            piece: BytesMut::new(),
            size,
            left: limit.saturating_add(OVERHEAD),
            limit,
            end: None,
            next: None,
            ended: false,
        })))
    }

    /// The side of the parser. It wakes nobody: [`work`](Self::work) knows when to look again.
    pub(super) fn stream(&self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        let feed = self.clone();
        stream::poll_fn(move |_| {
            let next = feed.store().next.take();
            next.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Lets the parser work, and hands it another piece whenever it has done what it can.
    pub(super) async fn work<T>(
        &self,
        parser: impl Future<Output = Result<T, multer::Error>>,
    ) -> Result<T, multer::Error> {
        let mut parser = pin!(parser);
        let mut hungry = false;
        poll_fn(|cx| {
            loop {
                if hungry && !ready!(self.store().fetch(cx)) {
                    return Poll::Ready(Err(multer::Error::IncompleteStream));
                }
                if let Poll::Ready(done) = parser.as_mut().poll(cx) {
                    return Poll::Ready(done);
                }
                hungry = true;
            }
        })
        .await
    }

    /// The parser has passed these bytes on.
    pub(super) fn passed(&self, bytes: u64) {
        let mut store = self.store();
        store.left = store.left.saturating_add(bytes);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Makes sure that there is something to take; false where the end was taken already.
    fn fetch(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.next.is_some() {
            return Poll::Ready(true);
        }
        while self.end.is_none() && !self.fill() {
            match ready!(self.body.as_mut().poll_next(cx)) {
                Some(Ok(data)) => self.waiting = data,
                Some(Err(error)) => self.end = Some(Some(error)),
                None => self.end = Some(None),
            }
        }
        if !self.piece.is_empty() {
            self.next = Some(Some(self.hand_over()));
        } else if self.ended {
            return Poll::Ready(false);
        } else {
            let error = self.end.as_mut().and_then(Option::take);
            self.ended = error.is_none();
            self.next = Some(error.map(Err));
        }
        Poll::Ready(true)
    }

    /// Moves what waits into the piece; whether that is full.
    fn fill(&mut self) -> bool {
        let more = self.waiting.len().min(self.size - self.piece.len());
        self.piece.extend_from_slice(&self.waiting.split_to(more));
        self.piece.len() == self.size
    }

    fn hand_over(&mut self) -> Result<Bytes, BoxError> {
        let piece = self.piece.split().freeze();
        match self.left.checked_sub(piece.len() as u64) {
            Some(left) => self.left = left,
            None => {
                let fault = InputErrorKind::too_large("bytes", self.limit);
                return Err(Box::new(InputError::from(fault)));
            }
        }
        Ok(piece)
    }
}

/// The next bytes of a body that are not none.
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
