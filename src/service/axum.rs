//! Sessions as extractors of axum, and errors as its responses.

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    redirect::Redirect,
    response::session_failure,
    session_ext::{MissingSessionLayer, SessionExt},
};
use crate::session::{Session, SessionError, Typed};

/// An extractor for axum: the session of the request, not loaded.
///
/// Use it if a handler loads its session only sometimes, or needs only a CSRF token. The extractor
/// [`Session`] loads the session.
///
/// ```
/// use hyper_session::{SessionError, service::UnloadedSession};
///
/// async fn form(UnloadedSession(session): UnloadedSession) -> Result<String, SessionError> {
///     session.csrf_field()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct UnloadedSession(pub Session);

/// An extractor for axum: the session of the request, [loaded for reading](Session::load_read_only).
///
/// All extractors of a request return handles of one session. If any of them is [`Session`], in a middleware
/// too, the session is writable from then on.
#[derive(Clone, Debug)]
pub struct ReadOnlySession(pub Session);

/// The rejection of a request whose session cannot be extracted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionRejection {
    /// No session layer wraps the handler. The response has status 500 and this text.
    #[error(transparent)]
    MissingLayer(#[from] MissingSessionLayer),
    /// The session cannot be loaded. The response has the [status](SessionError::status) of the error.
    #[error(transparent)]
    Load(#[from] SessionError),
}

/// The loaded session. `Option<Session>` is `None` if no session layer wraps the handler.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let session = from_extensions(parts)?;
        session.load().await?;
        Ok(session)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, SessionRejection> {
        let Ok(session) = from_extensions(parts) else {
            return Ok(None);
        };
        session.load().await?;
        Ok(Some(session))
    }
}

impl<S: Sync> FromRequestParts<S> for ReadOnlySession {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let session = from_extensions(parts)?;
        session.load_read_only().await?;
        Ok(Self(session))
    }
}

impl<S: Sync> FromRequestParts<S> for UnloadedSession {
    type Rejection = MissingSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingSessionLayer> {
        from_extensions(parts).map(Self)
    }
}

/// The values of the session, which is loaded.
impl<S: Sync, T> FromRequestParts<S> for Typed<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let session = from_extensions(parts)?;
        Ok(Self::load(&session).await?)
    }
}

fn from_extensions(parts: &Parts) -> Result<Session, MissingSessionLayer> {
    let session = parts.session().map_err(|_| MissingSessionLayer::TOWER);
    session.cloned()
}

/// An empty response with the [status](SessionError::status) of the error, as the session service sends
/// it. The error is in the response's extensions.
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        session_failure::<Body>(self).map(|_| Body::empty())
    }
}

/// The response of [`Redirect::into_response`](Self::into_response).
impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        self.into_response()
    }
}

impl IntoResponse for MissingSessionLayer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_string()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        match self {
            Self::MissingLayer(error) => error.into_response(),
            Self::Load(error) => error.into_response(),
        }
    }
}
