use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::stream::Stream;
use http_body::{Body, Frame};

use super::{BodyStream, MIN_CHUNK};

/// A body that returns one byte at a time and is pending before each.
struct SlowBody {
    bytes: Bytes,
    was_pending: bool,
}

impl SlowBody {
    fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            was_pending: false,
        }
    }
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.was_pending = !self.was_pending;
        if self.was_pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.bytes.has_remaining().then(|| self.bytes.split_to(1));
        Poll::Ready(next.map(|byte| Ok(Frame::data(byte))))
    }
}

#[tokio::test]
async fn the_parser_is_polled_once_for_each_chunk_and_not_for_each_byte() {
    let body = vec![b'y'; 3 * MIN_CHUNK + 1];
    let body = BodyStream::new(SlowBody::new(body), 1000);
    let mut stream = pin!(body.stream());
    let (mut polls, mut received) = (0, 0);
    let parser = poll_fn(|cx| {
        polls += 1;
        while let Poll::Ready(next) = stream.as_mut().poll_next(cx) {
            match next {
                Some(Ok(chunk)) => received += chunk.len(),
                Some(Err(_)) => return Poll::Ready(Err(multer::Error::IncompleteHeaders)),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    });
    assert!(body.drive(parser).await.is_ok());
    assert_eq!(received, 3 * MIN_CHUNK + 1);
    assert_eq!(
        polls, 6,
        "one poll without data, one for each of four chunks, one for the end"
    );
}

#[tokio::test]
async fn a_parser_that_wants_more_than_there_is_does_not_wait_forever() {
    let body = BodyStream::new(SlowBody::new("y"), 1000);
    let mut stream = pin!(body.stream());
    let parser = poll_fn(|cx| {
        while stream.as_mut().poll_next(cx).is_ready() {}
        Poll::<Result<(), _>>::Pending
    });
    let result = body.drive(parser).await;
    assert!(matches!(result, Err(multer::Error::IncompleteStream)));
}
