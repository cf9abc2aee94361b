//! Access to a request's session.

use http::{Extensions, Request, request::Parts};

use crate::session::Session;

/// Access to the session of a request.
#[doc(alias = "get_session")]
pub trait SessionExt {
    /// Returns the session from the request's extensions.
    ///
    /// # Errors
    /// If the request did not pass through [`Sessions::wrap`](super::Sessions::wrap) or a
    /// `SessionLayer`.
    fn session(&self) -> Result<&Session, MissingSessionLayer>;
}

/// The error of a request without a session: no session service or layer wraps the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request has no session; wrap the service with `Sessions::wrap` or `Sessions::layer`")]
pub struct MissingSessionLayer;

impl SessionExt for Extensions {
    fn session(&self) -> Result<&Session, MissingSessionLayer> {
        self.get().ok_or(MissingSessionLayer)
    }
}

impl<B> SessionExt for Request<B> {
    fn session(&self) -> Result<&Session, MissingSessionLayer> {
        self.extensions().session()
    }
}

impl SessionExt for Parts {
    fn session(&self) -> Result<&Session, MissingSessionLayer> {
        self.extensions.session()
    }
}
