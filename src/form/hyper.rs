//! Forms around a function and around a hyper service.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;

use super::{FormBody, FormFuture, Forms, error::BoxError, forms::Rules, future::Handler};
use crate::session::Session;

/// Forms around a service, which finds its session in the request's extensions.
///
/// With the feature `tower` it is a `tower::Service` around a tower service as well.
#[derive(Clone, Debug)]
pub struct FormService<S> {
    pub(super) inner: S,
    pub(super) rules: Arc<Rules>,
}

impl Forms {
    /// Puts forms around a function of the request and its session, for
    /// [`Sessions::wrap_fn`](crate::service::Sessions::wrap_fn).
    pub fn wrap_fn<F, B, Out, Fut, E>(
        &self,
        function: F,
    ) -> impl Fn(Request<B>, Session) -> FormFuture<B, Function<F>> + Clone + use<F, B, Out, Fut, E>
    where
        F: Fn(Request<FormBody<B>>, Session) -> Fut,
        Fut: Future<Output = Result<Response<Out>, E>>,
        E: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: From<Bytes>,
        B::Error: Into<BoxError>,
    {
        let (rules, function) = (self.0.clone(), Arc::new(function));
        move |request, session| {
            let handler = Function(function.clone());
            FormFuture::new(rules.clone(), request, session, handler)
        }
    }

    /// Puts forms around a hyper service, for [`Sessions::wrap`](crate::service::Sessions::wrap).
    pub fn wrap<S>(&self, inner: S) -> FormService<S> {
        FormService {
            inner,
            rules: self.0.clone(),
        }
    }
}

/// A function, to be called once.
#[derive(Debug)]
pub struct Function<F>(Arc<F>);

impl<F, B, Out, Fut, E> Handler<B> for Function<F>
where
    F: Fn(Request<FormBody<B>>, Session) -> Fut,
    Fut: Future<Output = Result<Response<Out>, E>>,
    E: Into<BoxError>,
{
    type Future = Fut;
    type Body = Out;
    type Failed = E;
    type Error = BoxError;

    fn call(self, request: Request<FormBody<B>>, session: Session) -> Fut {
        self.0(request, session)
    }

    fn sort<T>(
        error: E,
        look: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        look(error.into())
    }
}

/// A hyper service, to be called once.
#[derive(Debug)]
pub struct HyperCall<S>(S);

impl<S, B, Out> Handler<B> for HyperCall<S>
where
    S: Service<Request<FormBody<B>>, Response = Response<Out>>,
    S::Error: Into<BoxError>,
{
    type Future = S::Future;
    type Body = Out;
    type Failed = S::Error;
    type Error = BoxError;

    fn call(self, request: Request<FormBody<B>>, _: Session) -> S::Future {
        self.0.call(request)
    }

    fn sort<T>(
        error: S::Error,
        look: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        look(error.into())
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
    type Future = FormFuture<B, HyperCall<S>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let Some(session) = request.extensions().get::<Session>().cloned() else {
            return FormFuture::misplaced(&request);
        };
        let handler = HyperCall(self.inner.clone());
        FormFuture::new(self.rules.clone(), request, session, handler)
    }
}
