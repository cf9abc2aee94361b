//! The lifetime of one session.

use std::time::Duration;

use crate::clock::Timestamp;

/// The creation time of a session, and its own timeouts. The policy's timeouts apply as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) created: Timestamp,
    /// The time at which the session ends. Zero if it has no end of its own.
    end: Timestamp,
    /// The session's own idle timeout in seconds, or zero if it has none. The bit `BROWSER_SESSION` is
    /// set if its cookies have no `Max-Age`.
    timeout: u32,
}

const BROWSER_SESSION: u32 = 1 << 31;

impl Lifetime {
    /// Length of an encoded lifetime in bytes.
    pub(super) const LEN: usize = 20;

    /// Returns the lifetime of a session without timeouts of its own.
    pub(crate) const fn from_creation(created: Timestamp) -> Self {
        Self {
            created,
            end: Timestamp::from_millis(0),
            timeout: 0,
        }
    }

    pub(super) const fn from_parts(created: Timestamp, timeout: u32, end: Timestamp) -> Self {
        Self {
            created,
            end,
            timeout,
        }
    }

    /// Returns the fields that the formats contain: the creation time, the timeout and the end.
    pub(super) const fn into_parts(self) -> (Timestamp, u32, Timestamp) {
        (self.created, self.timeout, self.end)
    }

    /// Returns the session's own idle timeout.
    pub(crate) fn max_age(&self) -> Option<Duration> {
        let seconds = self.timeout & !BROWSER_SESSION;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Returns `true` if the session ends when the browser closes, whatever the policy says.
    pub(crate) const fn is_browser_session(&self) -> bool {
        self.timeout & BROWSER_SESSION != 0
    }

    /// Returns the time at which the session ends, however often it is used.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        (self.end > Timestamp::default()).then_some(self.end)
    }

    /// Returns `true` if both have the same timeouts, and cookies of the same kind.
    pub(crate) fn has_timeouts_of(&self, other: &Self) -> bool {
        (self.timeout, self.end) == (other.timeout, other.end)
    }

    /// Returns `true` if the session has a timeout or a kind of cookie of its own.
    pub(crate) const fn is_customized(&self) -> bool {
        self.timeout != 0
    }
}

/// A change of a session's own timeout. It sets two independent fields, so changes of parallel requests
/// merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LifetimeChange {
    /// The new idle timeout in seconds, or zero for the policy's.
    max_age: Option<u32>,
    is_browser_session: Option<bool>,
}

impl LifetimeChange {
    /// Sets the idle timeout, in whole seconds. A fraction is rounded up. The cookies get a `Max-Age`.
    pub(crate) fn max_age(max_age: Duration) -> Self {
        let seconds = max_age.as_secs() + u64::from(max_age.subsec_nanos() > 0);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Self {
            max_age: Some(seconds & !BROWSER_SESSION),
            is_browser_session: Some(false),
        }
    }

    /// Leaves `Max-Age` out of the cookies.
    pub(crate) const fn browser_session() -> Self {
        Self {
            max_age: None,
            is_browser_session: Some(true),
        }
    }

    /// Removes the session's own timeout and kind of cookie.
    pub(crate) const fn reset() -> Self {
        Self {
            max_age: Some(0),
            is_browser_session: Some(false),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.max_age.is_none() && self.is_browser_session.is_none()
    }

    /// Adds a later change.
    pub(crate) fn append(&mut self, later: Self) {
        self.max_age = later.max_age.or(self.max_age);
        self.is_browser_session = later.is_browser_session.or(self.is_browser_session);
    }

    /// Applies the change.
    pub(crate) fn apply(&self, lifetime: &mut Lifetime) {
        if let Some(seconds) = self.max_age {
            lifetime.timeout = lifetime.timeout & BROWSER_SESSION | seconds;
        }
        match self.is_browser_session {
            Some(true) => lifetime.timeout |= BROWSER_SESSION,
            Some(false) => lifetime.timeout &= !BROWSER_SESSION,
            None => {}
        }
    }
}
