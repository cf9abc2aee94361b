//! Methods for the lifetime of one session.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    session::{Session, SessionError},
    wire::LifetimeChange,
};

/// # Lifetime
///
/// A session lives for the setting [`age`](crate::SessionConfig#structfield.age) after its last use, unless
/// it has a timeout of its own. The record and the sealed cookie contain that timeout, so every renewal
/// uses it, also one of a request that does not load the session. It stays when the session is regenerated,
/// rotated or migrated, and the absolute timeout applies to it.
impl Session {
    /// Sets the session's own timeout: from now on, it lives for `max_age` after its last use, and its cookie
    /// has this `Max-Age`. Use it for "remember me".
    ///
    /// A fraction of a second is rounded up. A session that holds nothing is stored too.
    ///
    /// # Errors
    /// [`MaxAge`](SessionError::MaxAge) if `max_age` is zero, not longer than the touch interval, or longer
    /// than the absolute timeout or the setting
    /// [`max_age_limit`](crate::SessionConfig#structfield.max_age_limit). See [`put`](Self::put) for the
    /// others.
    ///
    /// # Concurrency
    /// Changes of other requests are kept. If two requests set a timeout, the later commit wins.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use hyper_session::{Session, SessionError};
    /// # fn sign_in(session: &Session, user: u64, remember_me: bool) -> Result<(), SessionError> {
    /// session.regenerate()?;
    /// session.put("user_id", user)?;
    /// if remember_me {
    ///     session.set_max_age(Duration::from_secs(30 * 24 * 60 * 60))?;
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "remember_me")]
    #[doc(alias = "set_expiry")]
    #[doc(alias = "set_ttl")]
    #[doc(alias = "maxAge")]
    pub fn set_max_age(&self, max_age: Duration) -> Result<(), SessionError> {
        self.engine.policy.check_max_age(max_age)?;
        self.change_lifetime(LifetimeChange::max_age(max_age))
    }

    /// Leaves `Max-Age` out of the session's cookies, so that the browser drops them when it closes. The
    /// session's timeout stays.
    ///
    /// The setting [`clear_with_browser`](crate::SessionConfig#structfield.clear_with_browser) does the same
    /// for all sessions.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    ///
    /// # Concurrency
    /// See [`set_max_age`](Self::set_max_age).
    #[doc(alias = "clear_with_browser")]
    #[doc(alias = "OnSessionEnd")]
    #[doc(alias = "expire_at_browser_close")]
    pub fn set_browser_session(&self) -> Result<(), SessionError> {
        self.change_lifetime(LifetimeChange::browser_session())
    }

    /// Removes the session's own timeout, and the effect of
    /// [`set_browser_session`](Self::set_browser_session). The settings apply again.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    ///
    /// # Concurrency
    /// See [`set_max_age`](Self::set_max_age).
    pub fn reset_max_age(&self) -> Result<(), SessionError> {
        self.change_lifetime(LifetimeChange::reset())
    }

    fn change_lifetime(&self, change: LifetimeChange) -> Result<(), SessionError> {
        self.writable()?.change_lifetime(change);
        Ok(())
    }

    /// Returns when the session was created. For a new session, that is the time of the load.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    pub fn created_at(&self) -> Result<Timestamp, SessionError> {
        Ok(self.state().readable()?.created_at())
    }

    /// Returns the time of the session's last renewal or write, to within the setting
    /// [`touch_interval`](crate::SessionConfig#structfield.touch_interval). The renewal by this request's
    /// load counts.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    #[doc(alias = "last_accessed")]
    pub fn last_seen(&self) -> Result<Timestamp, SessionError> {
        Ok(self.state().readable()?.last_seen(&self.engine))
    }

    /// Returns when the session expires unless it is used again: its timeout after
    /// [`last_seen`](Self::last_seen), or the absolute timeout if that is earlier. The store may keep the
    /// session for a touch interval longer.
    ///
    /// A timeout that this request has set counts from now. Other changes count once they are committed.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    #[doc(alias = "expiry_date")]
    #[doc(alias = "get_expiry_date")]
    pub fn expires_at(&self) -> Result<Timestamp, SessionError> {
        Ok(self.state().readable()?.expires_at(&self.engine))
    }
}
