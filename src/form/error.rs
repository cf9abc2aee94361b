//! Why a request's input cannot be used.

use std::{error::Error, fmt};

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The input of a request cannot be used; [`fault`](Self::fault) says why. Nothing was remembered.
///
/// Returned from a handler under [`Forms`](super::Forms), as it is, boxed, or as the source of an
/// error of your own, it becomes the answer of its [`status`](Self::status).
#[derive(Debug)]
pub struct InputError {
    /// Also the source, so that an error of your own that is `transparent` hides nothing.
    fault: InputErrorKind,
}

/// What is wrong with a request's input. No variant holds any of the input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputErrorKind {
    /// A limit was reached.
    #[error("there is too much of it: at most {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// It is not what its media type says.
    #[error("it is broken: {0}")]
    Malformed(&'static str),
    /// No form, or in characters other than UTF-8.
    #[error(
        "its type must be application/x-www-form-urlencoded, multipart/form-data or \
         application/json, in UTF-8"
    )]
    UnsupportedType,
    /// It did not come from a page of this session, as far as it can show.
    #[error("it cannot show that it comes from a page of this site: {0}")]
    Csrf(&'static str),
    /// The body ended in the middle.
    #[error("the body could not be read to its end")]
    Body(#[source] BoxError),
    /// The request has no session: [`Forms`](super::Forms) stands outside of the sessions.
    #[error("there is no session around it")]
    NoSession,
}

impl InputError {
    /// What is wrong.
    pub const fn fault(&self) -> &InputErrorKind {
        &self.fault
    }

    /// The status to answer with: 400, 403, 413, 415, or 500 where the server is at fault.
    pub const fn status(&self) -> StatusCode {
        self.fault.status()
    }

    /// The answer: the status, and the fault as plain text.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        self.fault.response(false).map(B::from)
    }
}

impl InputErrorKind {
    pub(super) const fn too_large(what: &'static str, limit: u64) -> Self {
        Self::TooLarge { what, limit }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Csrf(_) => StatusCode::FORBIDDEN,
            Self::NoSession => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn response(&self, json: bool) -> Response<String> {
        let text = format!("The request was refused: {self}.");
        if json {
            let body = serde_json::json!({ "message": text }).to_string();
            return respond(self.status(), JSON, body);
        }
        respond(self.status(), TEXT, text)
    }
}

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl From<InputErrorKind> for InputError {
    fn from(fault: InputErrorKind) -> Self {
        Self { fault }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's input cannot be used")
    }
}

impl Error for InputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.fault)
    }
}
