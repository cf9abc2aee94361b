//! Access to what a service stores, for the testing kit.

use http::{Extensions, HeaderMap};

use super::{Sessions, failure::FailureReason};
use crate::{
    clock::Clock,
    error_chain::ErrorChain,
    session::{SessionError, StoredSession, inspect},
};

impl Sessions {
    /// Returns the session that a request with these headers would load. See [`inspect`].
    pub(crate) async fn stored(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<StoredSession>, SessionError> {
        inspect(&self.0, headers).await
    }

    /// Returns the name of the id cookie.
    pub(crate) fn cookie_name(&self) -> &str {
        self.0.set_cookie.name().as_str()
    }

    /// Returns the clock of the sessions.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

/// Returns the reason of an error response, with the sources of its error. `extensions` are those of the
/// response.
pub(crate) fn failure_text(extensions: &Extensions) -> Option<String> {
    Some(match FailureReason::from_extensions(extensions)? {
        FailureReason::Session(error) => ErrorChain(error).to_string(),
        FailureReason::Conflict(error) => error.to_string(),
        FailureReason::MissingLayer(error) => error.to_string(),
        FailureReason::Input(reason) => reason.to_owned(),
    })
}
