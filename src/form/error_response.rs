//! The response to an invalid form.

use std::error::Error;

use http::{HeaderValue, Response, StatusCode, header::LOCATION};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    error::{BoxError, InputErrorKind, TEXT, new_response},
    origin::OwnOrigins,
    request_info::RequestInfo,
    validation::ValidationReport,
};
use crate::session::{Session, is_own_path};

/// A handler's error that [`Forms`](super::Forms) turns into a response.
pub(super) enum FormError {
    Validation(ValidationReport),
    Input(Response<String>),
}

impl FormError {
    /// Searches the error and its sources for an error of this module. Returns the error itself if
    /// there is none.
    pub(super) fn classify(error: BoxError, request: &RequestInfo) -> Result<Self, BoxError> {
        let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(source) = next {
            if let Some(report) = source.downcast_ref::<ValidationReport>() {
                return Ok(Self::Validation(report.clone()));
            }
            if let Some(kind) = source.downcast_ref::<InputErrorKind>() {
                return Ok(Self::Input(kind.response(request.wants_json())));
            }
            next = source.source();
        }
        Err(error)
    }
}

/// Flashes the report and redirects to the form.
pub(super) async fn redirect_to_form(
    report: ValidationReport,
    request: RequestInfo,
    session: Session,
    origins: OwnOrigins,
) -> Response<String> {
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
    see_other(&target)
}

/// Returns the path of the form. It is always a path on this origin, whatever the client sent.
fn redirect_target(
    report: &ValidationReport,
    request: &RequestInfo,
    session: &Session,
    origins: &OwnOrigins,
) -> String {
    if let Some(path) = &report.redirect_to {
        let path = Some(path).filter(|path| is_own_path(path));
        return path.map_or("/", |path| path).to_owned();
    }
    request
        .referer_path(origins)
        .or_else(|| session.previous_url().ok().flatten())
        .unwrap_or_else(|| "/".to_owned())
}

/// The ASCII characters that a URL must escape (RFC 3986, 2).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// Returns a 303 response: the browser requests `path` with GET (RFC 9110, 15.4.4).
fn see_other(path: &str) -> Response<String> {
    let path = utf8_percent_encode(path, ESCAPED).to_string();
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Returns a 422 response with the messages as plain text.
fn plain_text_response(report: &ValidationReport) -> Response<String> {
    let text = format!("{}\n{report}", report.summary());
    new_response(StatusCode::UNPROCESSABLE_ENTITY, TEXT, text)
}
