//! tower's `Layer` and `Service`, with the same code underneath.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{SessionService, body::SessionBody, future::SessionFuture, sessions::Sessions};
use crate::session::Engine;

/// Sessions as a [`tower::Layer`](tower_layer::Layer), for tower and axum. Clones share one engine.
#[derive(Clone, Debug)]
pub struct SessionLayer(Arc<Engine>);

impl Sessions {
    /// The layer that wraps a tower service.
    pub fn layer(&self) -> SessionLayer {
        SessionLayer(self.0.clone())
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService::new(inner, self.0.clone())
    }
}

impl<S, In, Out> Service<Request<In>> for SessionService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<SessionBody<Out>>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future, Out>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let session = self.open(&mut request);
        SessionFuture::new(self.inner.call(request), session)
    }
}
