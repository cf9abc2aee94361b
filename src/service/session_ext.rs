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
#[error("request has no session; {}", .service.remedy())]
pub struct MissingSessionLayer {
    service: ServiceKind,
}

/// The kind of service that got the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServiceKind {
    Unknown,
    #[allow(dead_code, reason = "only forms know it")]
    Hyper,
    #[allow(dead_code, reason = "only forms and extractors know it")]
    Tower,
}

impl MissingSessionLayer {
    const UNKNOWN: Self = Self {
        service: ServiceKind::Unknown,
    };
    /// The error in a hyper service.
    #[allow(dead_code, reason = "only forms use it")]
    pub(crate) const HYPER: Self = Self {
        service: ServiceKind::Hyper,
    };
    /// The error in a tower service.
    #[allow(dead_code, reason = "only forms and extractors use it")]
    pub(crate) const TOWER: Self = Self {
        service: ServiceKind::Tower,
    };
}

impl ServiceKind {
    const fn remedy(self) -> &'static str {
        match self {
            Self::Unknown => {
                "under hyper, wrap the service with `Sessions::wrap`; under tower or axum, add the layer \
                 `Sessions::layer` outside of the service"
            }
            Self::Hyper => "wrap the service with `Sessions::wrap`",
            Self::Tower => "add the layer `Sessions::layer` outside of the service",
        }
    }
}

impl SessionExt for Extensions {
    fn session(&self) -> Result<&Session, MissingSessionLayer> {
        self.get().ok_or(MissingSessionLayer::UNKNOWN)
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
