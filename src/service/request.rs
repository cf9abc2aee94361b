//! How a handler finds its session.

use http::{Extensions, Request, request::Parts};

use crate::session::Session;

/// The session of a request.
pub trait SessionExt {
    /// The handle that the session service left in the request's extensions.
    ///
    /// # Errors
    /// When the request did not come through a session service.
    fn session(&self) -> Result<&Session, MissingSessionLayer>;
}

/// The request did not pass a session service on its way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has no session: wrap the service with `Sessions::wrap`")]
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
