//! `Sessions` as a tower layer and service.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    SessionService,
    body::SessionBody,
    error_pages::{ErrorPageBody, ErrorPageFuture, ErrorPageService, ErrorPages},
    future::SessionFuture,
    hyper::call_with_session,
    request_info::RequestInfo,
    sessions::Sessions,
};
use crate::session::Engine;

/// [`Sessions`] as a [`tower::Layer`](tower_layer::Layer), for tower and axum. Clones share the store
/// and the configuration.
///
/// A service gets its session from the request's extensions, with [`SessionExt`](super::SessionExt).
/// With the feature `axum`, a handler of axum takes it as an argument.
#[derive(Clone, Debug)]
#[doc(alias = "SessionManagerLayer")]
#[doc(alias = "SessionMiddleware")]
pub struct SessionLayer(Arc<Engine>);

impl Sessions {
    /// Returns a layer that wraps tower services.
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

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let Self { inner, engine } = self;
        call_with_session(engine, request, |request| inner.call(request))
    }
}

/// [`ErrorPages`] as a [`tower::Layer`](tower_layer::Layer), outside of [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct ErrorPageLayer(ErrorPages);

impl ErrorPages {
    /// Returns a layer that wraps tower services.
    pub fn layer(&self) -> ErrorPageLayer {
        ErrorPageLayer(self.clone())
    }
}

impl<S> Layer<S> for ErrorPageLayer {
    type Service = ErrorPageService<S>;

    fn layer(&self, inner: S) -> ErrorPageService<S> {
        self.0.wrap(inner)
    }
}

impl<S, In, Out> Service<Request<In>> for ErrorPageService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<ErrorPageBody<Out>>;
    type Error = S::Error;
    type Future = ErrorPageFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let info = RequestInfo::new(&request);
        ErrorPageFuture::new(self.inner.call(request), info, self.pages.clone())
    }
}
