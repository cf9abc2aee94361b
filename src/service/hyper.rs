//! `Sessions` for hyper services and functions.

use std::{fmt, future::Future, sync::Arc};

use http::{Request, Response};
use hyper::service::Service;

use super::{body::SessionBody, future::SessionFuture};
use crate::session::{Engine, Session};

/// A service wrapped in [`Sessions`](super::Sessions). The inner service gets the session from the
/// request's extensions, with [`SessionExt`](super::SessionExt).
///
/// It is a hyper service. With the feature `tower` it is also a `tower::Service`, if the inner service
/// is one.
#[derive(Clone)]
#[doc(alias = "SessionManager")]
#[doc(alias = "SessionMiddleware")]
pub struct SessionService<S> {
    pub(super) inner: S,
    pub(super) engine: Arc<Engine>,
}

impl<S> SessionService<S> {
    pub(super) const fn new(inner: S, engine: Arc<Engine>) -> Self {
        Self { inner, engine }
    }

    /// Returns the inner service.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Creates the request's session and inserts it into the extensions.
    pub(super) fn insert_session<B>(&self, request: &mut Request<B>) -> Session {
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
        let session = self.insert_session(&mut request);
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

/// A function of a request and its [`Session`], as a hyper service. It does not use the request's
/// extensions, so it does not allocate.
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
