//! Access to what a service stores, for the testing kit.

use http::HeaderMap;

use super::Sessions;
use crate::{
    clock::Clock,
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
