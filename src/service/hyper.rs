//! `Sessions` for hyper services and functions.

use std::{fmt, future::Future, sync::Arc};

use http::{Request, Response};
use hyper::service::Service;

use super::{body::SessionBody, future::SessionFuture, layer_session::LayerSession};
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
}

impl<S, In, Out> Service<Request<In>> for SessionService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<SessionBody<Out>>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future, Out>;

    fn call(&self, request: Request<In>) -> Self::Future {
        call_with_session(&self.engine, request, |request| self.inner.call(request))
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Calls a service with the request's session in the extensions.
pub(super) fn call_with_session<In, Out, F>(
    engine: &Arc<Engine>,
    mut request: Request<In>,
    call: impl FnOnce(Request<In>) -> F,
) -> SessionFuture<F, Out> {
    match LayerSession::from_request(engine, &request) {
        Ok(session) => {
            if let LayerSession::Own(own) = &session {
                request.extensions_mut().insert(own.clone());
            }
            SessionFuture::new(call(request), session)
        }
        Err(conflict) => SessionFuture::refuse(conflict),
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
        let session = match LayerSession::from_request(&self.engine, &request) {
            Ok(session) => session,
            Err(conflict) => return SessionFuture::refuse(conflict),
        };
        // Cloned before the request moves, which saves a copy of the request.
        let handle = session.session().clone();
        SessionFuture::new((self.function)(request, handle), session)
    }
}

impl<F> fmt::Debug for SessionFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFn").finish_non_exhaustive()
    }
}
