//! Errors of a request's input.

use std::{error::Error, fmt, sync::Arc};

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use crate::service::{InputFailure, Messages, MissingSessionLayer};

// The reasons of failed CSRF checks.
pub(super) const MISSING_TOKEN: &str = "the token is missing";
pub(super) const INVALID_TOKEN: &str = "the token is not valid for this session";
pub(super) const CROSS_ORIGIN: &str = "the request comes from another origin";
pub(super) const OTHER_ORIGIN: &str = "the `Origin` header names another origin";

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The error of reading the input of a request, or of its CSRF check. [`kind`](Self::kind) returns the
/// reason.
///
/// A handler inside [`Forms`](super::Forms) may return it as its error, boxed, or as the source of its
/// own error. `Forms` then responds with its [`status`](Self::status). The session stores no
/// input.
#[derive(Debug)]
pub struct InputError {
    /// Also the source: `#[error(transparent)]` skips this type in the chain of sources.
    kind: InputErrorKind,
}

/// The reason of an [`InputError`]. No variant contains any of the input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputErrorKind {
    /// The input exceeds a limit of [`InputLimits`](super::InputLimits).
    #[error("input exceeds the limit of {limit} {unit}")]
    TooLarge {
        /// The counted unit, such as `bytes` or `fields`.
        unit: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The input does not match its content type.
    #[error("malformed input: {0}")]
    Malformed(&'static str),
    /// The content type is not supported, or the character set is not UTF-8.
    #[error(
        "unsupported content type; send application/x-www-form-urlencoded, multipart/form-data or \
         application/json, in UTF-8"
    )]
    UnsupportedType,
    /// The request has no valid CSRF token, or it comes from another origin.
    #[error("CSRF check failed: {0}")]
    Csrf(&'static str),
    /// The connection failed before the end of the body.
    #[error("cannot read the request body; send it again")]
    Body(#[source] BoxError),
    /// The request has no session, because [`Forms`](super::Forms) is not inside
    /// [`Sessions`](crate::Sessions).
    #[error(transparent)]
    NoSession(MissingSessionLayer),
}

impl InputError {
    /// Returns the reason.
    pub const fn kind(&self) -> &InputErrorKind {
        &self.kind
    }

    /// Returns the status of the response: 400, 403, 413, 415, or 500 if the service is set up wrongly.
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns a response with the status, and the reason as plain text. [`Forms`](super::Forms)
    /// converts it into JSON for a client that prefers JSON.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let mut response = self.kind.response(false, &Messages::default()).map(B::from);
        let rejection = InputRejection(Arc::new(self.kind));
        response.extensions_mut().insert(rejection);
        response
    }
}

/// The reason of an [`InputError`], in the extensions of its response.
#[derive(Clone)]
pub(super) struct InputRejection(pub(super) Arc<InputErrorKind>);

impl InputErrorKind {
    pub(super) const fn too_large(unit: &'static str, limit: u64) -> Self {
        Self::TooLarge { unit, limit }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Csrf(_) => StatusCode::FORBIDDEN,
            Self::NoSession(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn response(&self, as_json: bool, messages: &Messages) -> Response<String> {
        let text = self.text(messages);
        let mut response = if as_json {
            let body = serde_json::json!({ "message": text }).to_string();
            new_response(self.status(), JSON, body)
        } else {
            new_response(self.status(), TEXT, text)
        };
        let failure = InputFailure(self.to_string().into());
        response.extensions_mut().insert(failure);
        response
    }

    /// Returns the text for the client.
    fn text(&self, messages: &Messages) -> String {
        match self {
            Self::TooLarge { unit, limit } => {
                let key = format!("unit.{}", unit.replace(' ', "_"));
                let unit = messages.find(&key).unwrap_or(unit);
                messages.format("input.too_large", &[("limit", limit), ("unit", &unit)])
            }
            Self::Malformed(reason) => {
                let reason = messages.translate(reason);
                messages.format("input.malformed", &[("reason", &reason)])
            }
            Self::UnsupportedType => messages.text("input.unsupported_type").to_owned(),
            Self::Csrf(reason) => {
                let reason = messages.translate(reason);
                messages.format("input.csrf", &[("reason", &reason)])
            }
            Self::Body(_) => messages.text("input.body").to_owned(),
            Self::NoSession(error) => {
                let error = error.to_string();
                let reason = messages.translate(&error);
                messages.format("input.no_session", &[("reason", &reason)])
            }
        }
    }
}

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn new_response(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl From<InputErrorKind> for InputError {
    fn from(kind: InputErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request input rejected")
    }
}

impl Error for InputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.kind)
    }
}
