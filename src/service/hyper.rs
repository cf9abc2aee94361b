//! hyper's `Service`, around any inner service or function.

use std::{fmt, future::Future, sync::Arc};

use http::{Request, Response};
use hyper::service::Service;

use super::{body::SessionBody, future::SessionFuture};
use crate::session::{Engine, Session};

/// Sessions around a hyper service. The inner service finds its session in the request's extensions,
/// by [`SessionExt`](super::SessionExt).
///
/// With the feature `tower` it is a `tower::Service` around a tower service as well.
#[derive(Clone)]
pub struct SessionService<S> {
    pub(super) inner: S,
    pub(super) engine: Arc<Engine>,
}

impl<S> SessionService<S> {
    pub(super) const fn new(inner: S, engine: Arc<Engine>) -> Self {
        Self { inner, engine }
    }

    /// The inner service.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Puts a session into the request's extensions.
    pub(super) fn open<B>(&self, request: &mut Request<B>) -> Session {
        let session = Session::from_headers(&self.engine, request.headers());
        request.extensions_mut().insert(session.clone());
        session
    }
}

impl<S, In, Out> Service<Request<In>> for SessionService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<SessionBody<Out>>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future, Out>;

    fn call(&self, mut request: Request<In>) -> Self::Future {
        let session = self.open(&mut request);
        SessionFuture::new(self.inner.call(request), session)
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Sessions around a function of a request and its [`Session`]: a hyper service that leaves the
/// request's extensions alone, and so allocates nothing of its own.
#[derive(Clone)]
pub struct SessionFn<F> {
    function: F,
    engine: Arc<Engine>,
}

impl<F> SessionFn<F> {
    pub(super) const fn new(function: F, engine: Arc<Engine>) -> Self {
        Self { function, engine }
    }
}

impl<F, In, Out, Fut, E> Service<Request<In>> for SessionFn<F>
where
    F: Fn(Request<In>, Session) -> Fut,
    Fut: Future<Output = Result<Response<Out>, E>>,
{
    type Response = Response<SessionBody<Out>>;
    type Error = E;
    type Future = SessionFuture<Fut, Out>;

    fn call(&self, request: Request<In>) -> Self::Future {
        let session = Session::from_headers(&self.engine, request.headers());
        SessionFuture::new((self.function)(request, session.clone()), session)
    }
}

impl<F> fmt::Debug for SessionFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFn").finish_non_exhaustive()
    }
}
