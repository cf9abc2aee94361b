//! Forms as a tower layer, with the same code underneath.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    FormBody, FormFuture, FormService, Forms, error::BoxError, forms::Rules, future::Handler,
};
use crate::session::Session;

/// Forms as a [`tower::Layer`](tower_layer::Layer), inside of the layer of the sessions.
///
/// A tower service's own errors pass untouched, since frameworks such as axum have turned theirs into
/// responses by then: put validation errors into the response
/// ([`into_response`](super::ValidationErrors::into_response)).
#[derive(Clone, Debug)]
pub struct FormLayer(Arc<Rules>);

impl Forms {
    /// The layer that wraps a tower service.
    pub fn layer(&self) -> FormLayer {
        FormLayer(self.0.clone())
    }
}

impl<S> Layer<S> for FormLayer {
    type Service = FormService<S>;

    fn layer(&self, inner: S) -> FormService<S> {
        FormService {
            inner,
            rules: self.0.clone(),
        }
    }
}

/// A tower service that is ready, to be called once.
#[derive(Debug)]
pub struct TowerCall<S>(S);

impl<S, B, Out> Handler<B> for TowerCall<S>
where
    S: Service<Request<FormBody<B>>, Response = Response<Out>>,
{
    type Future = S::Future;
    type Body = Out;
    type Failed = S::Error;
    type Error = S::Error;

    fn call(mut self, request: Request<FormBody<B>>, _: Session) -> S::Future {
        self.0.call(request)
    }

    fn sort<T>(
        error: S::Error,
        _: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, S::Error> {
        Err(error)
    }
}

impl<S, B, Out> Service<Request<B>> for FormService<S>
where
    S: Service<Request<FormBody<B>>, Response = Response<Out>> + Clone,
    B: Body + Send + 'static,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = Response<FormBody<Out>>;
    type Error = S::Error;
    type Future = FormFuture<B, TowerCall<S>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(session) = request.extensions().get::<Session>().cloned() else {
            return FormFuture::misplaced(&request);
        };
        // The one that was asked whether it is ready is the one to call.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        FormFuture::new(self.rules.clone(), request, session, TowerCall(ready))
    }
}
