//! The response to an invalid form.

use std::error::Error;

use http::{Response, StatusCode};

use super::{
    error::{BoxError, InputErrorKind, TEXT, new_response},
    validation::ValidationReport,
};
use crate::{
    service::{OwnOrigins, Redirect, RequestInfo},
    session::Session,
};

/// A handler's error that [`Forms`](super::Forms) turns into a response.
pub(super) enum FormError {
    Validation(ValidationReport),
    Input(Response<String>),
}

impl FormError {
    /// Searches the error and its sources for an error of this module. Returns the error itself if
    /// there is none.
    ///
    /// `respond` returns the response to rejected input.
    pub(super) fn classify(
        error: BoxError,
        respond: impl FnOnce(&InputErrorKind) -> Response<String>,
    ) -> Result<Self, BoxError> {
        let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(source) = next {
            if let Some(report) = source.downcast_ref::<ValidationReport>() {
                return Ok(Self::Validation(report.clone()));
            }
            if let Some(kind) = source.downcast_ref::<InputErrorKind>() {
                return Ok(Self::Input(respond(kind)));
            }
            next = source.source();
        }
        Err(error)
    }
}

/// Flashes the report and redirects to the form.
pub(super) async fn redirect_to_form(
    mut report: ValidationReport,
    request: RequestInfo,
    session: Session,
    origins: OwnOrigins,
) -> Response<String> {
    report.with_input &= !request.is_inertia();
    if session.load().await.is_err() {
        return plain_text_response(&report);
    }
    let mut target = redirect_target(&report, &request, &session, &origins);
    if request.would_loop(&target) {
        "/".clone_into(&mut target);
    }
    // If the next page cannot show the messages, this response must.
    if request.would_loop(&target) || report.flash(&session).is_err() {
        return plain_text_response(&report);
    }
    Redirect::to(target).into_response()
}

/// Returns the path of the form. It is always a path on this origin, whatever the client sent.
fn redirect_target(
    report: &ValidationReport,
    request: &RequestInfo,
    session: &Session,
    origins: &OwnOrigins,
) -> String {
    if let Some(path) = &report.redirect_to {
        return Redirect::to(path).path().to_owned();
    }
    request
        .referer_path(origins)
        .or_else(|| session.previous_url().ok().flatten())
        .unwrap_or_else(|| "/".to_owned())
}

/// Returns a 422 response with the messages as plain text.
fn plain_text_response(report: &ValidationReport) -> Response<String> {
    let text = format!("{}\n{report}", report.summary());
    new_response(StatusCode::UNPROCESSABLE_ENTITY, TEXT, text)
}
