//! `Forms` for functions and hyper services.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;

use super::{FormBody, FormFuture, Forms, error::BoxError, forms::FormsConfig, future::Handler};
use crate::{service::MissingSessionLayer, session::Session};

/// A service wrapped in [`Forms`]. It expects the session in the request's extensions.
///
/// It is a hyper service. With the feature `tower` it is also a `tower::Service`, if the inner service
/// is one.
#[derive(Clone, Debug)]
pub struct FormService<S> {
    pub(super) inner: S,
    pub(super) config: Arc<FormsConfig>,
}

impl Forms {
    /// Wraps a function of the request and its session, for
    /// [`Sessions::wrap_fn`](crate::service::Sessions::wrap_fn).
    pub fn wrap_fn<F, B, Out, Fut, E>(
        &self,
        function: F,
    ) -> impl Fn(Request<B>, Session) -> FormFuture<B, FunctionHandler<F>> + Clone + use<F, B, Out, Fut, E>
    where
        F: Fn(Request<FormBody<B>>, Session) -> Fut,
        Fut: Future<Output = Result<Response<Out>, E>>,
        E: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: From<Bytes>,
        B::Error: Into<BoxError>,
    {
        let (config, function) = (self.0.clone(), Arc::new(function));
        move |request, session| {
            let handler = FunctionHandler(function.clone());
            FormFuture::new(config.clone(), request, session, handler)
        }
    }

    /// Wraps a hyper service, for [`Sessions::wrap`](crate::service::Sessions::wrap).
    pub fn wrap<S>(&self, inner: S) -> FormService<S> {
        FormService {
            inner,
            config: self.0.clone(),
        }
    }
}

/// [`Handler`] for a function. Public only because it is part of a public signature.
#[doc(hidden)]
#[derive(Debug)]
pub struct FunctionHandler<F>(Arc<F>);

impl<F, B, Out, Fut, E> Handler<B> for FunctionHandler<F>
where
    F: Fn(Request<FormBody<B>>, Session) -> Fut,
    Fut: Future<Output = Result<Response<Out>, E>>,
    E: Into<BoxError>,
{
    type Future = Fut;
    type Body = Out;
    type HandlerError = E;
    type Error = BoxError;

    fn call(self, request: Request<FormBody<B>>, session: Session) -> Fut {
        self.0(request, session)
    }

    fn recover<T>(
        error: E,
        classify: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        classify(error.into())
    }
}

/// [`Handler`] for a hyper service. Public only because it is part of a public signature.
#[doc(hidden)]
#[derive(Debug)]
pub struct HyperHandler<S>(S);

impl<S, B, Out> Handler<B> for HyperHandler<S>
where
    S: Service<Request<FormBody<B>>, Response = Response<Out>>,
    S::Error: Into<BoxError>,
{
    type Future = S::Future;
    type Body = Out;
    type HandlerError = S::Error;
    type Error = BoxError;

    fn call(self, request: Request<FormBody<B>>, _: Session) -> S::Future {
        self.0.call(request)
    }

    fn recover<T>(
        error: S::Error,
        classify: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        classify(error.into())
    }
}

impl<S, B, Out> Service<Request<B>> for FormService<S>
where
    S: Service<Request<FormBody<B>>, Response = Response<Out>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = Response<FormBody<Out>>;
    type Error = BoxError;
    type Future = FormFuture<B, HyperHandler<S>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let Some(session) = request.extensions().get::<Session>().cloned() else {
            return FormFuture::missing_session(&self.config, &request, MissingSessionLayer::HYPER);
        };
        let handler = HyperHandler(self.inner.clone());
        FormFuture::new(self.config.clone(), request, session, handler)
    }
}
