//! One request over an HTTP/1 connection in memory.

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Mutex,
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client, server,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;

use crate::{error_chain::ErrorChain, service::failure_text, sync::lock};

/// Capacity of the connection in each direction, in bytes.
const PIPE_BYTES: usize = 64 * 1024;

/// The error of a request without a response: the service or its body failed.
#[derive(Debug)]
pub(super) struct ExchangeError(hyper::Error);

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ErrorChain(&self.0).fmt(f)
    }
}

/// The reason of an error response, in the extensions of a [`Response`].
#[derive(Clone, Debug)]
pub(super) struct FailureText(pub(super) String);

/// Sends a request to a service and returns the response with its whole body.
///
/// A connection does not transfer extensions, so the response has [`FailureText`] instead of its error.
///
/// Client and server run in this future, so it needs no runtime, and it is `Send` if the service's future
/// is.
pub(super) async fn exchange<S, B>(
    service: &S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, ExchangeError>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (client_end, server_end) = tokio::io::duplex(PIPE_BYTES);
    let builder = server::conn::http1::Builder::new();
    let failure = Mutex::new(None);
    let observed = service_fn(|request| {
        let (response, failure) = (service.call(request), &failure);
        async move {
            let response = response.await?;
            *lock(failure) = failure_text(response.extensions()).map(FailureText);
            Ok::<_, S::Error>(response)
        }
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(server_end), observed));
    let handshake = client::conn::http1::handshake(TokioIo::new(client_end)).await;
    let (mut sender, connection) = handshake.map_err(ExchangeError)?;
    let mut connection = pin!(connection);
    let mut sending = pin!(async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    });
    let (mut is_served, mut is_closed) = (false, false);
    let exchanged = poll_fn(|cx| {
        if !is_served && let Poll::Ready(result) = serving.as_mut().poll(cx) {
            is_served = true;
            if let Err(error) = result {
                return Poll::Ready(Err(ExchangeError(error)));
            }
        }
        is_closed = is_closed || connection.as_mut().poll(cx).is_ready();
        sending.as_mut().poll(cx).map_err(ExchangeError)
    });
    let mut response = exchanged.await?;
    if let Some(failure) = lock(&failure).take() {
        response.extensions_mut().insert(failure);
    }
    Ok(response)
}
