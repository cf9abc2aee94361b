//! The rules that a session follows, as plain values. `config` builds them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::patch::ChangeLimits;

/// When the id cookie is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CookiePolicy {
    /// On the first response and renewed on every later one, errors too.
    ///
    /// A response that was long on its way can bring the browser an id back that another response
    /// has replaced meanwhile. Ids that died in the same process are known and not sent again; for
    /// those that died in another one, `WhenUsed` is the safer choice.
    #[default]
    Rolling,
    /// Only where a session was written, moved or ended, or was opened when its renewal was due.
    /// A response to a request that left its session alone says nothing of sessions and can be
    /// cached by anyone.
    WhenUsed,
}

/// What a request gets when the store fails.
///
/// A response that is replaced still tells the browser what the request had stored by an explicit
/// [`commit`](super::Session::commit), or ended, before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreFailure {
    /// `load` fails, and whatever the service answers becomes a 503.
    #[default]
    Unavailable,
    /// An empty read-only session, which overwrites nothing. A write that could not be stored at
    /// the end of the request still becomes a 503: it is never dropped in silence.
    ReadOnly,
}

/// What becomes of a response whose session is too large for its store, as one in a cookie can be.
///
/// In either case the browser is told what the request had stored by an explicit
/// [`commit`](super::Session::commit), or ended, before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTooLarge {
    /// It is replaced by a 500: nothing is acknowledged that was not stored.
    #[default]
    Error,
    /// It goes out as the handler made it, what the request changed is dropped, and
    /// [`Event::WriteDropped`](super::Event::WriteDropped) tells so. An explicit
    /// [`commit`](super::Session::commit) fails all the same.
    DropWrite,
}

/// The rules of one engine.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) enabled: bool,
    /// How long a session lives without any request.
    pub(crate) age: Duration,
    /// How long a session lives at most, however busy.
    pub(crate) absolute_timeout: Option<Duration>,
    /// How old the last renewal must be before a request renews again.
    pub(crate) touch_interval: Duration,
    pub(crate) cookie: CookiePolicy,
    pub(crate) clear_with_browser: bool,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) on_too_large: OnTooLarge,
    pub(crate) limits: ChangeLimits,
    /// How often a commit is tried against other requests' writes.
    pub(crate) max_attempts: u32,
    /// How long the fence under an old id stands after the session moved on.
    pub(crate) fence_ttl: Duration,
}

impl Policy {
    /// How long a record lives in the store from a touch or write on: the age, and as long again
    /// as renewals may be put off, so that a session never dies in the store before its cookie.
    pub(crate) fn time_to_live(&self) -> Duration {
        self.age.saturating_add(self.touch_interval)
    }
}
