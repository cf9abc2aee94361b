//! What all sessions of one service share.

use std::time::Duration;

use super::{Backend, CookieCache, DeadKeys, Event, Policy, SessionError, events::Listeners};
use crate::{
    clock::{Clock, Timestamp},
    cookie::{Finder, SetCookie},
    wire::{CookieText, Format, IdCookie},
};

/// The store, the rules and the formats of one service.
pub(crate) struct Engine {
    pub(crate) backend: Backend,
    pub(crate) policy: Policy,
    pub(crate) format: Box<dyn Format>,
    pub(crate) cookie_cache: CookieCache,
    pub(crate) dead_keys: DeadKeys,
    pub(crate) finder: Finder,
    pub(crate) set_cookie: SetCookie,
    pub(crate) clock: Clock,
    pub(crate) listeners: Listeners,
    /// A setting that was adjusted to what user agents accept.
    pub(crate) adjusted: Option<&'static str>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("policy", &self.policy)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Tells the listeners, and takes note of ids that died.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Event::Regenerated { from: key, .. } | Event::Destroyed { key } = event {
            self.dead_keys.insert(*key);
        }
        self.listeners.emit(event);
    }

    /// Reports `error` to the listeners where the store is at fault, and hands it on.
    pub(crate) fn report(&self, error: SessionError) -> SessionError {
        if error.is_store_failure() || error.is_too_large() {
            self.emit(&Event::StoreFailed { error: &error });
        }
        error
    }

    /// Whether the last renewal is so old that another one is due. One from the future, as a clock
    /// that ran ahead leaves behind, counts for nothing.
    pub(crate) fn is_renewal_due(&self, renewed: Timestamp, now: Timestamp) -> bool {
        let interval = self.policy.touch_interval;
        now.duration_since(renewed) >= interval || renewed.duration_since(now) > interval
    }

    /// The time a record may live from `now`: until the idle end, or the absolute one if sooner.
    pub(crate) fn time_to_live(&self, created: Timestamp, now: Timestamp) -> Duration {
        let idle = self.policy.time_to_live();
        self.policy.absolute_timeout.map_or(idle, |lifetime| {
            idle.min(created.saturating_add(lifetime).duration_since(now))
        })
    }

    /// Writes the value of an id cookie.
    pub(crate) fn seal(&self, cookie: &IdCookie, out: &mut CookieText) -> Result<(), SessionError> {
        out.clear();
        self.format
            .seal_id(cookie, out)
            .map_err(SessionError::Cookie)
    }
}
