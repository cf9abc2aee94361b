use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::stream::Stream;
use http_body::{Body, Frame};

use super::{Feed, PIECE};

/// A body that comes in byte by byte, and lets everybody wait for each.
struct Drip(Bytes, bool);

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.0.has_remaining().then(|| self.0.split_to(1));
        Poll::Ready(next.map(|byte| Ok(Frame::data(byte))))
    }
}

#[tokio::test]
async fn the_parser_is_asked_once_for_each_piece_and_not_for_each_byte() {
    let body = Bytes::from(vec![b'y'; 3 * PIECE + 1]);
    let feed = Feed::new(Drip(body, false), 1000);
    let mut stream = pin!(feed.stream());
    let (mut asked, mut got) = (0, 0);
    let parser = poll_fn(|cx| {
        asked += 1;
        while let Poll::Ready(next) = stream.as_mut().poll_next(cx) {
            match next {
                Some(Ok(piece)) => got += piece.len(),
                Some(Err(_)) => return Poll::Ready(Err(multer::Error::IncompleteHeaders)),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    });
    assert!(feed.work(parser).await.is_ok());
    assert_eq!(got, 3 * PIECE + 1);
    assert_eq!(
        asked, 6,
        "once for nothing, for four pieces, and for the end"
    );
}

#[tokio::test]
async fn a_parser_that_wants_more_than_there_is_does_not_wait_forever() {
    let feed = Feed::new(Drip(Bytes::from_static(b"y"), false), 1000);
    let mut stream = pin!(feed.stream());
    let parser = poll_fn(|cx| {
        while stream.as_mut().poll_next(cx).is_ready() {}
        Poll::<Result<(), _>>::Pending
    });
    let ended = feed.work(parser).await;
    assert!(matches!(ended, Err(multer::Error::IncompleteStream)));
}
