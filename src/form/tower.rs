//! `Forms` as a tower layer and service.

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
    FormBody, FormFuture, FormService, Forms, error::BoxError, forms::FormsConfig, future::Handler,
};
use crate::{service::MissingSessionLayer, session::Session};

/// [`Forms`] as a [`tower::Layer`](tower_layer::Layer), inside
/// [`SessionLayer`](crate::service::SessionLayer).
///
/// Errors of the inner tower service pass unchanged: frameworks such as axum convert a handler's error
/// into a response before it reaches a layer. With the feature `axum`, a handler may return form errors.
/// Elsewhere, put them into the response with
/// [`into_response`](super::ValidationErrors::into_response).
#[derive(Clone, Debug)]
pub struct FormLayer(Arc<FormsConfig>);

impl Forms {
    /// Returns a layer that wraps tower services.
    pub fn layer(&self) -> FormLayer {
        FormLayer(self.0.clone())
    }
}

impl<S> Layer<S> for FormLayer {
    type Service = FormService<S>;

    fn layer(&self, inner: S) -> FormService<S> {
        FormService {
            inner,
            config: self.0.clone(),
        }
    }
}

/// [`Handler`] for a ready tower service. Public only because it is part of a public signature.
#[doc(hidden)]
#[derive(Debug)]
pub struct TowerHandler<S>(S);

impl<S, B, Out> Handler<B> for TowerHandler<S>
where
    S: Service<Request<FormBody<B>>, Response = Response<Out>>,
{
    type Future = S::Future;
    type Body = Out;
    type HandlerError = S::Error;
    type Error = S::Error;

    fn call(mut self, request: Request<FormBody<B>>, _: Session) -> S::Future {
        self.0.call(request)
    }

    fn recover<T>(
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
    type Future = FormFuture<B, TowerHandler<S>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(session) = request.extensions().get::<Session>().cloned() else {
            return FormFuture::missing_session(&self.config, &request, MissingSessionLayer::TOWER);
        };
        // `poll_ready` made this instance ready, so call it and keep the clone.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        FormFuture::new(self.config.clone(), request, session, TowerHandler(ready))
    }
}
