//! The session of a request that may pass several session layers.

use std::sync::Arc;

use http::Request;

use crate::session::{Engine, Event, Session};

/// A request's session in one layer.
#[derive(Debug)]
pub(super) enum LayerSession {
    /// This layer created the session and commits it.
    Own(Session),
    /// An outer layer of the same `Sessions` created the session and commits it.
    Outer(Session),
}

impl LayerSession {
    /// Returns the session of an outer layer of the same engine, or creates a session.
    #[inline(always)]
    pub(super) fn from_request<B>(
        engine: &Arc<Engine>,
        request: &Request<B>,
    ) -> Result<Self, SessionLayerConflict> {
        match request.extensions().get::<Session>() {
            None => Ok(Self::Own(Session::from_request(engine, request))),
            Some(outer) => Self::from_outer(outer, engine, request),
        }
    }

    #[cold]
    fn from_outer<B>(
        outer: &Session,
        engine: &Arc<Engine>,
        request: &Request<B>,
    ) -> Result<Self, SessionLayerConflict> {
        if outer.belongs_to(engine) {
            return Ok(Self::Outer(outer.clone()));
        }
        let cookie_name = engine.set_cookie.name().as_str();
        if outer.cookie_name() == cookie_name {
            engine.emit(&Event::LayerConflict { cookie_name });
            let cookie_name = cookie_name.into();
            return Err(SessionLayerConflict { cookie_name });
        }
        Ok(Self::Own(Session::from_request(engine, request)))
    }

    pub(super) const fn session(&self) -> &Session {
        match self {
            Self::Own(session) | Self::Outer(session) => session,
        }
    }
}

/// The error of a request that passes layers of two [`Sessions`](super::Sessions) with one cookie
/// name. Each would replace the cookie of the other.
///
/// The inner layer does not call its service. It answers with a 500 that has this error in its
/// [extensions](http::Response::extensions), and emits [`Event::LayerConflict`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cookie `{cookie_name}` is used by two session layers around one service; use one `Sessions`, or \
     set another `cookie_name`"
)]
pub struct SessionLayerConflict {
    cookie_name: Box<str>,
}
