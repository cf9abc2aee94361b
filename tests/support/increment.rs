//! A request that increments a number, for tests that send many at once.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::{Session, Sessions};

use super::Jar;

/// Sends one request with these cookies that increments `n`. Returns the status.
pub async fn increment(sessions: Sessions, jar: Jar) -> u16 {
    let service = sessions.wrap_fn(|_: Request<()>, session: Session| async move {
        session.load().await.unwrap();
        tokio::task::yield_now().await;
        session.increment("n").unwrap();
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut request = Request::new(());
    jar.add_to(request.headers_mut());
    service.call(request).await.unwrap().status().as_u16()
}
