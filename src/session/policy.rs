//! The policy of a service's sessions, as plain values. `config` builds it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SessionError;
use crate::patch::ChangeLimits;

/// The rule that decides which responses send the id cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CookiePolicy {
    /// The first response to a visitor sends it, and every response to a request that loaded its
    /// session, including error responses. This renews the cookie's `Max-Age`. A response to any other
    /// request sends it if a renewal is due (`touch_interval`; with zero, every response sends it). A
    /// cacheable response and a 304 send it only if the session was changed; see the guide's page on
    /// security.
    ///
    /// A response sends the id of its request only if the store confirmed during the request that the
    /// id is alive. Otherwise a slow response could replace the cookie of a newer session.
    #[default]
    Rolling,
    /// A response sends it only if the session was stored for the first time, got a new id or another timeout, or
    /// was destroyed, if a new id or a CSRF token of it was handed out, or if a renewal is due. A later write alone
    /// does not send it. Until then, a response to a request that did not use its session has no session headers, so
    /// shared caches may store it.
    WhenUsed,
}

/// The result of loading a session if the store fails.
///
/// A response that replaces the handler's still sets the cookies for what the request stored by an
/// explicit [`commit`](super::Session::commit), or destroyed, before the failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// `load` fails. The service replaces the response with a 503, whatever the handler returns.
    #[default]
    Unavailable,
    /// `load` returns an empty read-only session, which overwrites nothing. If the final commit of
    /// a request fails, the response is still a 503, so no write is lost silently.
    ReadOnly,
}

/// The response to a request whose session is over a size limit: that of its store, such as cookies, or
/// `limits.document`, together with the changes of other requests. See
/// [`SessionError::TooLarge`](super::SessionError::TooLarge).
///
/// Either response sets the cookies for what the request stored by an explicit
/// [`commit`](super::Session::commit), or destroyed, before the failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnTooLarge {
    /// A 500. The handler's response is replaced, since it may acknowledge changes that are not
    /// stored.
    #[default]
    Error,
    /// The handler's response. The request's changes are dropped, with an
    /// [`Event::WriteDropped`](super::Event::WriteDropped). An explicit
    /// [`commit`](super::Session::commit) still fails.
    DropWrite,
}

/// The response to a request whose changes do not fit changes that another request stored first. See
/// [`SessionError::Conflict`](super::SessionError::Conflict).
///
/// Either response sets the cookies for what the request stored by an explicit
/// [`commit`](super::Session::commit), or destroyed, before the failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnConflict {
    /// A 409. The handler's response is replaced, since it may acknowledge changes that are not
    /// stored.
    #[default]
    Error,
    /// The handler's response. The request's changes are dropped, with an
    /// [`Event::WriteDropped`](super::Event::WriteDropped). An explicit
    /// [`commit`](super::Session::commit) still fails.
    DropWrite,
}

/// The policy of one engine.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) enabled: bool,
    /// The maximum time between two requests of a session.
    pub(crate) age: Duration,
    /// The maximum age of a session, however often it is used.
    pub(crate) absolute_timeout: Option<Duration>,
    /// The maximum time that a session may set for itself instead of `age`.
    pub(crate) max_age_limit: Duration,
    /// Minimum time between two touches of a record.
    pub(crate) touch_interval: Duration,
    /// Maximum time that a response waits for the touch of an unloaded session.
    pub(crate) touch_timeout: Duration,
    pub(crate) cookie: CookiePolicy,
    pub(crate) clear_with_browser: bool,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) on_too_large: OnTooLarge,
    /// A redirect does not consume flash messages.
    pub(crate) keep_flash_on_redirect: bool,
    /// Names of form fields that are never flashed.
    pub(crate) secret_fields: Box<[String]>,
    pub(crate) limits: ChangeLimits,
    pub(crate) on_conflict: OnConflict,
    /// The time in which a commit retries while other requests write the session, and in which a load
    /// looks up several ids.
    pub(crate) commit_timeout: Duration,
    /// The time to live of the fence under an old id.
    pub(crate) fence_ttl: Duration,
}

impl Policy {
    /// Returns `true` if changes that cannot be stored for the reason `error` are dropped at the end of a request.
    pub(crate) fn drops_after(&self, error: &SessionError) -> bool {
        error.is_too_large() && self.on_too_large == OnTooLarge::DropWrite
            || error.is_conflict() && self.on_conflict == OnConflict::DropWrite
    }

    /// Returns the time to live of a record with an idle timeout of `age`, after a touch or a write: the
    /// age and the touch interval. A touch may be late by that interval, and the record must not expire
    /// before its cookie.
    pub(crate) fn idle_ttl(&self, age: Duration) -> Duration {
        age.saturating_add(self.touch_interval)
    }
}
