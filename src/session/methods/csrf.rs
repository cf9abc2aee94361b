//! Tokens that show that a form came from a page of ours.

use crate::session::{Event, Session, SessionError};

impl Session {
    /// A token for a form or a request header, which shows that whoever sends it has read a page of
    /// this session.
    ///
    /// It is made from the session's id: nothing is stored, the session need not be loaded, and
    /// [`regenerate`](Self::regenerate) and the end of the session make it worthless. It is masked
    /// by random bytes, so each call gives another text, and all of them are good at the same time.
    ///
    /// While sessions are disabled a token is never good, since no request has an id.
    ///
    /// # Errors
    /// When there are no random bytes for it.
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        let secret = self.identified().identity.show_csrf_secret()?;
        Ok(secret.to_masked_token()?)
    }

    /// A hidden `<input>` named `_csrf` with a [`csrf_token`](Self::csrf_token), to be put into a
    /// form as it is.
    ///
    /// # Errors
    /// As [`csrf_token`](Self::csrf_token).
    pub fn csrf_field(&self) -> Result<String, SessionError> {
        let token = self.csrf_token()?;
        Ok(format!(
            r#"<input type="hidden" name="_csrf" value="{token}">"#
        ))
    }

    /// Whether `token` is one of this session's, compared in constant time. Never true for a request
    /// without a session cookie of ours.
    pub fn verify_csrf_token(&self, token: &str) -> bool {
        let secret = self.identified().identity.csrf_secret();
        secret.is_some_and(|secret| secret.matches(token))
    }

    /// Tells the listeners that a request was refused, in words that hold nothing of it: for checks
    /// of your own. `form::Forms` does it by itself.
    pub fn report_csrf_failure(&self, reason: &'static str) {
        self.engine.emit(&Event::CsrfFailed { reason });
    }
}
