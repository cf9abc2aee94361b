//! Services under test, and the message of a panic.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_session::{Session, testing::TestResponse};
use serde_json::{Value, json};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Page = Response<Full<Bytes>>;

/// Responds with the request as JSON. The query has the `Set-Cookie` lines, separated by `&`.
pub(crate) async fn echo(request: Request<Incoming>) -> Result<Page, BoxError> {
    let mut response = Response::builder();
    for line in request.uri().query().unwrap_or_default().split('&') {
        response = response.header("set-cookie", line.replace("%20", " "));
    }
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let body = request.into_body().collect().await?.to_bytes();
    let body = String::from_utf8(body.to_vec())?;
    let echo = json!({ "method": method, "path": path, "headers": headers, "body": body });
    Ok(response.body(Full::from(echo.to_string()))?)
}

/// An error with the text of its source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct PageError(#[source] BoxError);

/// Pages that use the session.
pub(crate) async fn pages(request: Request<Incoming>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    match request.uri().path() {
        "/visit" => drop(session.increment("visits")?),
        "/old" => {
            let redirect = Response::builder().status(303).header("location", "/visit");
            return Ok(redirect.body(Full::default())?);
        }
        "/logout" => session.destroy()?,
        "/fail" => return Err(PageError("the database is away".into()).into()),
        _ => {}
    }
    Ok(Response::default())
}

pub(crate) fn header(response: &TestResponse, name: &str) -> Value {
    response.json::<Value>()["headers"][name].take()
}

/// Returns the message of the panic of a future.
pub(crate) async fn panic_message<T>(future: impl Future<Output = T>) -> String {
    let mut future = Box::pin(future);
    let result = poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(|_| None),
            Err(panic) => Poll::Ready(panic.downcast_ref::<String>().cloned()),
        }
    });
    result.await.expect("the future panics with a text")
}
