//! Methods for CSRF tokens.

use crate::session::{Event, Session, SessionError};

/// # CSRF protection
impl Session {
    /// Returns a CSRF token for a form or a request header. A sender of the token has read a page
    /// of this session.
    ///
    /// The token is derived from the session's id. Nothing is stored, and the session need not be
    /// loaded. [`regenerate`](Self::regenerate) and [`destroy`](Self::destroy) invalidate it. A
    /// random mask makes each call return another text (against the BREACH attack); all of them are
    /// valid.
    ///
    /// If sessions are disabled, no token is ever valid, because no request has an id.
    ///
    /// # Errors
    /// [`Entropy`](SessionError::Entropy) if there are no random bytes.
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        let secret = self.with_id(|state| state.issue_csrf_secret())?;
        Ok(secret.to_masked_token()?)
    }

    /// Returns a hidden `<input>` named `_csrf` with a [`csrf_token`](Self::csrf_token), as HTML.
    ///
    /// # Errors
    /// See [`csrf_token`](Self::csrf_token).
    pub fn csrf_field(&self) -> Result<String, SessionError> {
        let token = self.csrf_token()?;
        Ok(format!(
            r#"<input type="hidden" name="_csrf" value="{token}">"#
        ))
    }

    /// Returns `true` if `token` is a token of this session. The comparison takes constant time.
    ///
    /// Returns `false` if the request carried no session cookie of this service.
    pub fn verify_csrf_token(&self, token: &str) -> bool {
        self.with_id(|state| state.verify_csrf_token(token))
    }

    /// Emits [`Event::CsrfFailed`], for CSRF checks of your own. `reason` must not hold any part of
    /// the request. `form::Forms` calls this itself.
    pub fn report_csrf_failure(&self, reason: &'static str) {
        self.engine.emit(&Event::CsrfFailed { reason });
    }
}
