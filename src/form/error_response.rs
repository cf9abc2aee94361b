//! What a visitor gets whose form is wrong.

use std::error::Error;

use http::{HeaderValue, Response, StatusCode, header::LOCATION};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    asked::Asked,
    error::{BoxError, InputErrorKind, TEXT, respond},
    origin::Origins,
    validation::Report,
};
use crate::session::{Session, is_own_path};

/// A handler's error that has an answer.
pub(super) enum Failure {
    Validation(Report),
    Refused(Response<String>),
}

impl Failure {
    /// Looks for an error of ours, wherever it stands in the chain of sources.
    pub(super) fn of(error: BoxError, asked: &Asked) -> Result<Self, BoxError> {
        let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(link) = next {
            if let Some(report) = link.downcast_ref::<Report>() {
                return Ok(Self::Validation(report.clone()));
            }
            if let Some(fault) = link.downcast_ref::<InputErrorKind>() {
                return Ok(Self::Refused(fault.response(asked.wants_json())));
            }
            next = link.source();
        }
        Err(error)
    }
}

/// Flashes the report, and sends the visitor back to the form.
pub(super) async fn back_to_form(
    report: Report,
    asked: Asked,
    session: Session,
    origins: Origins,
) -> Response<String> {
    if session.load().await.is_err() {
        return untold(&report);
    }
    let mut target = target(&report, &asked, &session, &origins);
    if asked.is_repeated_by(&target) {
        "/".clone_into(&mut target);
    }
    // Where the messages cannot be told by the next page, they are told here.
    if asked.is_repeated_by(&target) || report.flash(&session).is_err() {
        return untold(&report);
    }
    see_other(&target)
}

/// Where the form was: a path on this origin, whatever anybody says.
fn target(report: &Report, asked: &Asked, session: &Session, origins: &Origins) -> String {
    if let Some(path) = &report.back_to {
        let path = Some(path).filter(|path| is_own_path(path));
        return path.map_or("/", |path| path).to_owned();
    }
    asked
        .came_from(origins)
        .or_else(|| session.previous_url().ok().flatten())
        .unwrap_or_else(|| "/".to_owned())
}

/// What no URL holds as it is (RFC 3986, 2), besides what is not ASCII.
const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// RFC 9110, 15.4.4: the browser goes there with GET.
fn see_other(path: &str) -> Response<String> {
    let path = utf8_percent_encode(path, UNFIT).to_string();
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, location);
    response
}

/// The messages as plain text.
fn untold(report: &Report) -> Response<String> {
    let text = format!("{}\n{report}", report.summary());
    respond(StatusCode::UNPROCESSABLE_ENTITY, TEXT, text)
}
