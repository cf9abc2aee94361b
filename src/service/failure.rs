//! Failed requests, for the pages that explain them.

use std::sync::Arc;

use http::{Extensions, Response, StatusCode};

use super::{
    layer_session::SessionLayerConflict, messages::Messages, request_info::RequestInfo,
    session_ext::MissingSessionLayer,
};
use crate::session::SessionError;

/// A request that failed because of its session, its CSRF check or its input, for
/// [`ErrorPages`](super::ErrorPages).
#[derive(Debug)]
pub struct RequestFailure<'r> {
    status: StatusCode,
    reason: FailureReason<'r>,
    request: &'r RequestInfo,
}

#[derive(Debug)]
pub(super) enum FailureReason<'r> {
    Session(&'r SessionError),
    Conflict(&'r SessionLayerConflict),
    MissingLayer(&'r MissingSessionLayer),
    Input(&'r str),
}

impl<'r> FailureReason<'r> {
    /// Returns the reason in the extensions of a response; `None` if they have none.
    pub(super) fn from_extensions(extensions: &'r Extensions) -> Option<Self> {
        let session = || extensions.get().map(FailureReason::Session);
        let conflict = || extensions.get().map(FailureReason::Conflict);
        let missing_layer = || extensions.get().map(FailureReason::MissingLayer);
        let input = || {
            let InputFailure(reason) = extensions.get()?;
            Some(FailureReason::Input(reason))
        };
        session()
            .or_else(conflict)
            .or_else(missing_layer)
            .or_else(input)
    }
}

/// The reason why `form` rejected a request, in the extensions of its response.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "only forms reject input")]
pub(crate) struct InputFailure(pub(crate) Arc<str>);

impl<'r> RequestFailure<'r> {
    /// Returns the failure of a response; `None` if it has none.
    pub(super) fn from_response<B>(
        response: &'r Response<B>,
        request: &'r RequestInfo,
    ) -> Option<Self> {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        Some(Self {
            status,
            reason: FailureReason::from_extensions(response.extensions())?,
            request,
        })
    }

    /// Returns the status of the response: 403 if the CSRF check failed, 409 for a conflict, 503 if a retry
    /// may succeed, 500 for other errors of the session, and 400, 413 or 415 for rejected input.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the reason in English, for logs and developers. It contains no values of the session. It may
    /// contain names of its keys.
    pub fn reason(&self) -> String {
        match self.reason {
            FailureReason::Session(error) => error.to_string(),
            FailureReason::Conflict(error) => error.to_string(),
            FailureReason::MissingLayer(error) => error.to_string(),
            FailureReason::Input(reason) => reason.to_owned(),
        }
    }

    /// Returns the error of the session, if it is the reason.
    pub const fn session_error(&self) -> Option<&SessionError> {
        match self.reason {
            FailureReason::Session(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the request.
    pub const fn request(&self) -> &RequestInfo {
        self.request
    }

    /// Returns the text for the visitor: `status.503`, for example, of the catalogue.
    pub fn message(&self, messages: &Messages) -> String {
        let key = format!("status.{}", self.status.as_u16());
        let text = messages.find(&key).unwrap_or_else(|| {
            messages.text(if self.status.is_server_error() {
                "status.500"
            } else {
                "status.400"
            })
        });
        text.to_owned()
    }
}
