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
    change(sessions, jar, |session| {
        session.increment("n").unwrap();
    })
    .await
}

/// Calls `change` with the session of a browser, in a request. Returns the status.
pub async fn change(sessions: Sessions, jar: Jar, change: impl Fn(&Session)) -> u16 {
    let service = sessions.wrap_fn(async |_: Request<()>, session: Session| {
        session.load().await.unwrap();
        tokio::task::yield_now().await;
        change(&session);
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut request = Request::new(());
    jar.add_to(request.headers_mut());
    service.call(request).await.unwrap().status().as_u16()
}
