//! The future of a request inside [`Forms`](super::Forms): CSRF check, handler, error response.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, header::SET_COOKIE, request};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    ValidationErrors,
    body::FormBody,
    csrf::{HeadCheck, check_body, check_handshake, check_head, check_header_token, is_handshake},
    error::{BoxError, InputError, InputErrorKind, InputRejection},
    error_response::{FormError, redirect_to_form},
    forms::FormsConfig,
};
use crate::{
    completion::panic_after_completion,
    service::{Messages, MissingSessionLayer, RequestInfo},
    session::Session,
};

/// A handler that is called once. Public only because it is part of a public signature.
#[doc(hidden)]
pub trait Handler<B> {
    /// The future of the handler's response.
    type Future: Future<Output = Result<Response<Self::Body>, Self::HandlerError>>;
    /// The body of the handler's response.
    type Body;
    /// The handler's error.
    type HandlerError;
    /// The error of the wrapped service.
    type Error;

    /// Calls the handler.
    fn call(self, request: Request<FormBody<B>>, session: Session) -> Self::Future;

    /// Recovers from an error if `classify` recognizes it. Returns the error otherwise.
    fn recover<T>(
        error: Self::HandlerError,
        classify: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, Self::Error>;
}

type CheckedRequest<B> = Result<Request<FormBody<B>>, InputError>;

pin_project! {
    /// The future of a service wrapped in [`Forms`](super::Forms).
    ///
    /// It allocates only to read a CSRF token from a body and to redirect to a form. It panics if it
    /// is polled after completion.
    #[must_use = "futures do nothing unless polled"]
    pub struct FormFuture<B, H>
    where
        H: Handler<B>,
    {
        #[pin]
        stage: FormStage<B, H, H::Future>,
        context: Option<RequestContext>,
    }
}

/// The state of a request beside its handler. It is dropped when the response is ready, so that the
/// session's buffers can serve another request.
struct RequestContext {
    request: RequestInfo,
    session: Session,
    config: Arc<FormsConfig>,
}

pin_project! {
    #[project = FormStageProj]
    enum FormStage<B, H, F> {
        Responding { response: Option<Response<String>> },
        Checking { checking: BoxFuture<'static, CheckedRequest<B>>, handler: Option<H> },
        Handling { #[pin] handling: F },
        Flashing { flashing: BoxFuture<'static, Response<String>>, cookies: HeaderMap },
        Completed,
    }
}

impl<B, H> FormFuture<B, H>
where
    B: Body + Send + 'static,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
    H: Handler<B>,
{
    pub(super) fn new(
        config: Arc<FormsConfig>,
        request: Request<B>,
        session: Session,
        handler: H,
    ) -> Self {
        let info = RequestInfo::new(&request);
        let (mut head, body) = request.into_parts();
        // `Input` passes the input to the session in the extensions.
        if head.extensions.get::<Session>().is_none() {
            head.extensions.insert(session.clone());
        }
        let context = RequestContext {
            request: info,
            session,
            config,
        };
        Self {
            stage: context.start(head, body, handler),
            context: Some(context),
        }
    }

    /// Responds to a request without a session.
    pub(super) fn missing_session(
        config: &FormsConfig,
        request: &Request<B>,
        error: MissingSessionLayer,
    ) -> Self {
        let request = RequestInfo::new(request);
        let messages = config.messages(&request, None);
        let response = InputErrorKind::NoSession(error).response(request.wants_json(), &messages);
        Self {
            stage: FormStage::Responding {
                response: Some(response),
            },
            context: None,
        }
    }
}

impl RequestContext {
    fn start<B, H>(&self, head: request::Parts, body: B, handler: H) -> FormStage<B, H, H::Future>
    where
        B: Body + Send + 'static,
        B::Data: From<Bytes>,
        B::Error: Into<BoxError>,
        H: Handler<B>,
    {
        let check = match self.config.requires_check(&head) {
            false => HeadCheck::Accept,
            true if is_handshake(&head) => check_handshake(&head, &self.config.origins),
            true if head.method.is_safe() => HeadCheck::Accept,
            true => check_head(&head, &self.session, &self.config.origins),
        };
        let session = self.session.clone();
        let checking: BoxFuture<'static, CheckedRequest<B>> = match check {
            HeadCheck::Accept => {
                let request = Request::from_parts(head, body.into());
                return FormStage::Handling {
                    handling: handler.call(request, session),
                };
            }
            HeadCheck::Reject(reason) => {
                return FormStage::Responding {
                    response: Some(self.reject(&reason)),
                };
            }
            HeadCheck::Identify => {
                Box::pin(async move { check_header_token(head, body, &session).await })
            }
            HeadCheck::ReadBody => {
                let limits = self.config.limits;
                Box::pin(async move { check_body(head, body, &session, &limits).await })
            }
        };
        FormStage::Checking {
            checking,
            handler: Some(handler),
        }
    }

    fn reject(&self, reason: &InputErrorKind) -> Response<String> {
        if let InputErrorKind::Csrf(reason) = reason {
            self.session.report_csrf_failure(reason);
        }
        self.input_response(reason)
    }

    /// Returns the response to rejected input.
    fn input_response(&self, reason: &InputErrorKind) -> Response<String> {
        reason.response(self.request.wants_json(), &self.messages())
    }

    fn messages(&self) -> Messages {
        self.config.messages(&self.request, Some(&self.session))
    }

    /// Responds to an error: at once, or after the error is flashed.
    fn respond<B, H, F>(self, error: FormError, cookies: HeaderMap) -> FormStage<B, H, F> {
        let mut report = match error {
            FormError::Input(response) => {
                let response = Some(with_cookies(response, cookies));
                return FormStage::Responding { response };
            }
            FormError::Validation(report) => report,
        };
        report.translate(&self.messages());
        if report.as_json.unwrap_or_else(|| self.request.wants_json()) {
            let response = Some(with_cookies(report.json(), cookies));
            return FormStage::Responding { response };
        }
        let origins = self.config.origins.clone();
        let flashing = redirect_to_form(report, self.request, self.session, origins);
        FormStage::Flashing {
            flashing: Box::pin(flashing),
            cookies,
        }
    }
}

/// Takes the errors of a form out of a response. Returns them with the response's cookies.
fn take_errors<T>(
    response: &mut Response<T>,
    context: &RequestContext,
) -> Option<(FormError, HeaderMap)> {
    let extensions = response.extensions_mut();
    let error = match extensions.remove::<ValidationErrors>() {
        Some(errors) => FormError::Validation(*errors.report),
        None => {
            let InputRejection(kind) = extensions.remove()?;
            FormError::Input(context.input_response(&kind))
        }
    };
    let mut cookies = HeaderMap::new();
    for cookie in response.headers().get_all(SET_COOKIE) {
        cookies.append(SET_COOKIE, cookie.clone());
    }
    Some((error, cookies))
}

fn with_cookies(mut response: Response<String>, cookies: HeaderMap) -> Response<String> {
    response.headers_mut().extend(cookies);
    response
}

impl<B, H> Future for FormFuture<B, H>
where
    H: Handler<B>,
{
    type Output = Result<Response<FormBody<H::Body>>, H::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(self.as_mut().poll_stages(cx));
        let mut this = self.project();
        this.stage.set(FormStage::Completed);
        *this.context = None;
        Poll::Ready(output)
    }
}

impl<B, H> FormFuture<B, H>
where
    H: Handler<B>,
{
    /// Runs the stages to the response.
    fn poll_stages(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                FormStageProj::Responding { response } => {
                    let response = response.take().unwrap_or_default();
                    return Poll::Ready(Ok(response.map(FormBody::from_text)));
                }
                FormStageProj::Checking { checking, handler } => {
                    let checked = ready!(checking.as_mut().poll(cx));
                    let (Some(handler), Some(context)) = (handler.take(), this.context.as_ref())
                    else {
                        panic_after_completion("FormFuture");
                    };
                    match checked {
                        Ok(request) => FormStage::Handling {
                            handling: handler.call(request, context.session.clone()),
                        },
                        Err(error) => FormStage::Responding {
                            response: Some(context.reject(error.kind())),
                        },
                    }
                }
                FormStageProj::Handling { handling } => {
                    let handled = ready!(handling.poll(cx));
                    let Some(context) = this.context.take() else {
                        panic_after_completion("FormFuture");
                    };
                    let (error, cookies) = match handled {
                        Ok(mut response) => match take_errors(&mut response, &context) {
                            None => return Poll::Ready(Ok(response.map(FormBody::from))),
                            Some(errors) => errors,
                        },
                        Err(error) => {
                            let classify = |error| {
                                FormError::classify(error, |kind| context.input_response(kind))
                            };
                            (H::recover(error, classify)?, HeaderMap::new())
                        }
                    };
                    context.respond(error, cookies)
                }
                FormStageProj::Flashing { flashing, cookies } => {
                    let response = ready!(flashing.as_mut().poll(cx));
                    let response = with_cookies(response, std::mem::take(cookies));
                    return Poll::Ready(Ok(response.map(FormBody::from_text)));
                }
                FormStageProj::Completed => panic_after_completion("FormFuture"),
            };
            this.stage.set(next);
        }
    }
}

impl<B, H: Handler<B>> std::fmt::Debug for FormFuture<B, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FormFuture").finish_non_exhaustive()
    }
}
