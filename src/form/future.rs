//! The life of a request under [`Forms`](super::Forms): checked, handled, and sent back where its form
//! is wrong.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::SET_COOKIE, request};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    ValidationErrors,
    answer::{Failure, back_to_form},
    asked::Asked,
    body::{FormBody, from_foreign_id},
    error::{BoxError, InputError, InputErrorKind},
    forms::Rules,
    guard::{Verdict, check_body, judge},
};
use crate::session::Session;

/// A handler that can be called once, and what becomes of its errors.
pub trait Handler<B> {
    /// The handler's response, to come.
    type Future: Future<Output = Result<Response<Self::Body>, Self::Failed>>;
    /// The body of its response.
    type Body;
    /// Its error.
    type Failed;
    /// The error that is left when those of forms have got their answer.
    type Error;

    /// Calls it.
    fn call(self, request: Request<FormBody<B>>, session: Session) -> Self::Future;

    /// Lets `look` find the answer to an error; the error itself where there is none.
    fn sort<T>(
        error: Self::Failed,
        look: impl FnOnce(BoxError) -> Result<T, BoxError>,
    ) -> Result<T, Self::Error>;
}

type Checked<B> = Result<Request<FormBody<B>>, InputError>;
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// The response of a service under [`Forms`](super::Forms). A box is allocated for it only where a
    /// token has to be looked for in a body, and where a form is sent back.
    #[must_use = "a response comes when this is awaited"]
    pub struct FormFuture<B, H>
    where
        H: Handler<B>,
    {
        #[pin]
        stage: Stage<B, H, H::Future>,
        around: Option<Around>,
    }
}

/// What there is around the handler. Taken where the request ends, so that the session's buffers can
/// serve another one.
struct Around {
    asked: Asked,
    session: Session,
    rules: Arc<Rules>,
}

pin_project! {
    #[project = StageProj]
    enum Stage<B, H, F> {
        Answered { response: Option<Response<String>> },
        Checking { checking: Later<Checked<B>>, handler: Option<H> },
        Handling { #[pin] handling: F },
        Flashing { flashing: Later<Response<String>>, cookies: HeaderMap },
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
        rules: Arc<Rules>,
        request: Request<B>,
        session: Session,
        handler: H,
    ) -> Self {
        let asked = Asked::of(&request);
        let (mut head, body) = request.into_parts();
        // `Input` leaves what it read with the session that it finds there.
        if head.extensions.get::<Session>().is_none() {
            head.extensions.insert(session.clone());
        }
        let around = Around {
            asked,
            session,
            rules,
        };
        Self {
            stage: around.begin(head, body.into(), handler),
            around: Some(around),
        }
    }

    /// There is no session.
    pub(super) fn misplaced(request: &Request<B>) -> Self {
        let fault = InputErrorKind::NoSession;
        let response = fault.response(Asked::of(request).wants_json());
        Self {
            stage: Stage::Answered {
                response: Some(response),
            },
            around: None,
        }
    }
}

impl Around {
    fn begin<B, H>(
        &self,
        head: request::Parts,
        body: FormBody<B>,
        handler: H,
    ) -> Stage<B, H, H::Future>
    where
        B: Body + Send + 'static,
        B::Data: From<Bytes>,
        B::Error: Into<BoxError>,
        H: Handler<B>,
    {
        let verdict = match self.rules.protects(&head) {
            true => judge(&head, &self.session, &self.rules.origins),
            false => Verdict::Pass,
        };
        match verdict {
            Verdict::Pass => Stage::Handling {
                handling: handler.call(Request::from_parts(head, body), self.session.clone()),
            },
            Verdict::Refused(fault) => Stage::Answered {
                response: Some(self.refuse(&fault)),
            },
            Verdict::InBody => {
                let (session, limits) = (self.session.clone(), self.rules.limits);
                let checking = async move { check_body(head, body, &session, &limits).await };
                Stage::Checking {
                    checking: Box::pin(checking),
                    handler: Some(handler),
                }
            }
        }
    }

    fn refuse(&self, fault: &InputErrorKind) -> Response<String> {
        if let InputErrorKind::Csrf(reason) = fault {
            self.session.report_csrf_failure(reason);
        }
        fault.response(self.asked.wants_json())
    }

    /// The answer to a failure: at once, or once it is flashed.
    fn answer<B, H, F>(self, failure: Failure, cookies: HeaderMap) -> Stage<B, H, F> {
        let report = match failure {
            Failure::Refused(response) => {
                let response = Some(response);
                return Stage::Answered { response };
            }
            Failure::Validation(report) => report,
        };
        if report.as_json.unwrap_or_else(|| self.asked.wants_json()) {
            let response = Some(with_cookies(report.json(), cookies));
            return Stage::Answered { response };
        }
        let origins = self.rules.origins.clone();
        let flashing = back_to_form(report, self.asked, self.session, origins);
        Stage::Flashing {
            flashing: Box::pin(flashing),
            cookies,
        }
    }
}

/// Errors that a response carries, and the cookies that it sets.
fn carried<T>(response: &mut Response<T>) -> Option<(Failure, HeaderMap)> {
    let errors: ValidationErrors = response.extensions_mut().remove()?;
    let mut cookies = HeaderMap::new();
    for cookie in response.headers().get_all(SET_COOKIE) {
        cookies.append(SET_COOKIE, cookie.clone());
    }
    Some((Failure::Validation(*errors.report), cookies))
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::Answered { response } => {
                    *this.around = None;
                    let response = response.take().unwrap_or_default();
                    return Poll::Ready(Ok(response.map(from_foreign_id)));
                }
                StageProj::Checking { checking, handler } => {
                    let checked = ready!(checking.as_mut().poll(cx));
                    let (Some(handler), Some(around)) = (handler.take(), this.around.as_ref())
                    else {
                        return Poll::Pending;
                    };
                    match checked {
                        Ok(request) => Stage::Handling {
                            handling: handler.call(request, around.session.clone()),
                        },
                        Err(error) => Stage::Answered {
                            response: Some(around.refuse(error.fault())),
                        },
                    }
                }
                StageProj::Handling { handling } => {
                    let handled = ready!(handling.poll(cx));
                    let Some(around) = this.around.take() else {
                        return Poll::Pending;
                    };
                    let (failure, cookies) = match handled {
                        Ok(mut response) => match carried(&mut response) {
                            None => return Poll::Ready(Ok(response.map(FormBody::from))),
                            Some(carried) => carried,
                        },
                        Err(error) => {
                            let failure = H::sort(error, |error| Failure::of(error, &around.asked));
                            (failure?, HeaderMap::new())
                        }
                    };
                    around.answer(failure, cookies)
                }
                StageProj::Flashing { flashing, cookies } => {
                    let response = ready!(flashing.as_mut().poll(cx));
                    let response = with_cookies(response, std::mem::take(cookies));
                    return Poll::Ready(Ok(response.map(from_foreign_id)));
                }
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
