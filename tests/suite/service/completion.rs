//! Futures that are polled after their completion.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::Session;

use crate::support::{TestServer, config, test_server};

/// Awaits a future, polls it again, and returns the text of its panic.
pub(crate) async fn panic_of_next_poll(future: impl Future) -> String {
    let mut future = pin!(future);
    future.as_mut().await;
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx).is_ready());
        let panic = catch_unwind(poll).expect_err("the future panics");
        Poll::Ready(*panic.downcast::<String>().expect("the panic has a text"))
    })
    .await
}

async fn request(setup: &TestServer, handler: impl AsyncFn(&Session) -> Result<(), ()>) -> String {
    let handler = &handler;
    let service = setup
        .sessions
        .wrap_fn(|_: Request<()>, session: Session| async move {
            let response = Response::new(Empty::<Bytes>::new());
            handler(&session).await.map(|()| response)
        });
    panic_of_next_poll(service.call(Request::new(()))).await
}

#[tokio::test]
async fn the_future_of_a_request_panics() {
    let setup = test_server(config());
    let expected = "`SessionFuture` polled after completion";
    let unused = request(&setup, async |_| Ok(())).await;
    assert_eq!(unused, expected);
    let failed = request(&setup, async |_| Err(())).await;
    assert_eq!(failed, expected);
    let written = request(&setup, async |s| {
        s.load().await.unwrap().put("n", 1).unwrap();
        Ok(())
    });
    assert_eq!(written.await, expected);
    setup.store.fail(crate::support::Call::Write);
    let not_stored = request(&setup, async |s| {
        s.load().await.unwrap().put("n", 1).unwrap();
        Ok(())
    });
    assert_eq!(not_stored.await, expected);
}

#[tokio::test]
async fn the_future_of_a_load_panics() {
    let expected = "`Load` polled after completion";
    let setup = test_server(config());
    let mut browser = setup.browser();
    for _ in ["new", "stored"] {
        browser
            .request(async |s| {
                assert_eq!(panic_of_next_poll(s.load()).await, expected);
                assert_eq!(panic_of_next_poll(s.load_read_only()).await, expected);
                s.increment("n").unwrap();
            })
            .await;
    }
}

#[tokio::test]
async fn the_future_of_a_commit_panics() {
    let expected = "`Commit` polled after completion";
    let mut browser = test_server(config()).browser();
    browser
        .request(async |s| {
            assert_eq!(panic_of_next_poll(s.commit()).await, expected, "not loaded");
            s.load().await.unwrap();
            assert_eq!(panic_of_next_poll(s.commit()).await, expected, "unchanged");
            s.put("n", 1).unwrap();
            assert_eq!(panic_of_next_poll(s.commit()).await, expected, "stored");
        })
        .await;
}
