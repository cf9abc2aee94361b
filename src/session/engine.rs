//! The part of a service that all its sessions share.

use std::time::Duration;

use super::{
    CommitQueues, CookieCache, Event, PendingIds, Policy, RecentChanges, SessionError, TouchTimes,
    backend::Backend,
    events::{Listeners, QueuedEvent},
    key_table::RecentChange,
    trace::OperationMeters,
};
use crate::{
    clock::{Clock, Timestamp},
    cookie::{CookieStripper, Finder, SetCookie},
    id::StoreKey,
    wire::{CookieText, Format, IdCookie, Lifetime},
};

/// Maximum difference between a time to live that is read and the one that was written: by rounding, slow
/// operations, and clocks that differ.
const TTL_TOLERANCE: Duration = Duration::from_secs(60);

/// The store, the policy and the formats of one service.
pub(crate) struct Engine {
    pub(crate) backend: Backend,
    /// The store's name in logs and metrics.
    pub(crate) store_name: &'static str,
    pub(crate) meters: OperationMeters,
    pub(crate) policy: Policy,
    /// The policy's `touch_interval`, rounded up.
    pub(crate) touch_interval_millis: u64,
    pub(crate) format: Box<dyn Format>,
    pub(crate) cookie_cache: CookieCache,
    pub(crate) recent_changes: RecentChanges,
    pub(crate) touch_times: TouchTimes,
    pub(crate) queues: CommitQueues,
    pub(crate) pending_ids: PendingIds,
    pub(crate) finder: Finder,
    pub(crate) set_cookie: SetCookie,
    pub(crate) stripper: CookieStripper,
    pub(crate) clock: Clock,
    pub(crate) listeners: Listeners,
    /// A note on a setting that was reduced to the limit of user agents.
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
    /// Sends an event to the listeners, and records the key of an id that died.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Event::Regenerated { from: key, .. } | Event::Destroyed { key } = event {
            self.record_death(*key);
        }
        self.listeners.emit(event);
    }

    /// Records the key of an id that died. Slower responses of this process do not send the id.
    pub(super) fn record_death(&self, key: StoreKey) {
        self.recent_changes.insert(key, RecentChange::Death);
    }

    /// Sends the events of a session that was locked to the listeners.
    #[cold]
    pub(super) fn emit_queued(&self, events: &[QueuedEvent]) {
        for event in events {
            match event {
                QueuedEvent::Event(event) => self.emit(event),
                QueuedEvent::StoreFailed(key, error) => {
                    self.emit(&Event::StoreFailed { key: *key, error });
                }
            }
        }
    }

    /// Emits [`Event::StoreFailed`] if the store caused `error` of the session with this key. Returns the
    /// error.
    pub(crate) fn report(&self, key: Option<StoreKey>, error: SessionError) -> SessionError {
        if error.is_caused_by_store() {
            self.emit(&Event::StoreFailed { key, error: &error });
        }
        error
    }

    /// Records the lifetime of a stored session whose own timeout differs from the one in a request's
    /// cookie. `is_written` means that the request has written it; a request that read it may be late.
    #[cold]
    pub(crate) fn record_lifetime(&self, key: StoreKey, lifetime: Lifetime, is_written: bool) {
        let change = RecentChange::Lifetime(lifetime, self.clock.now());
        self.recent_changes
            .insert_unless(key, change, |known| match known {
                RecentChange::Death => true,
                RecentChange::Lifetime(_, at) => !is_written && self.is_recent(at),
            });
    }

    /// Returns `true` if a request that began before `at` may still be running.
    pub(crate) fn is_recent(&self, at: Timestamp) -> bool {
        self.clock.now().duration_since(at) < self.policy.fence_ttl
    }

    /// Returns `true` if the last touch is older than the touch interval. A touch time in the
    /// future comes from a clock that ran fast, so it counts as old.
    pub(crate) fn is_touch_due(&self, last_touch: Timestamp, now: Timestamp) -> bool {
        let (last_touch, now) = (last_touch.as_millis(), now.as_millis());
        match last_touch <= now {
            true => now - last_touch >= self.touch_interval_millis,
            false => last_touch - now > self.touch_interval_millis,
        }
    }
}

/// The lifetime of a session. Every time to live, every `Max-Age` and every expiry comes from here: from
/// the session's own timeout or else the policy's, the absolute timeout, and the session's end.
impl Engine {
    /// Returns `true` if the session has ended at its absolute timeout, or at an end of its own.
    pub(crate) fn has_ended(&self, lifetime: &Lifetime, now: Timestamp) -> bool {
        self.end(lifetime).is_some_and(|end| end <= now)
    }

    /// Returns how long a record may live from `now`, after a write or a touch: until the idle
    /// timeout, or until the end of the session if it comes first. Zero if the session is over.
    pub(crate) fn record_ttl(&self, lifetime: &Lifetime, now: Timestamp) -> Duration {
        let idle = self.policy.idle_ttl(self.max_age(lifetime));
        let end = self.end(lifetime);
        end.map_or(idle, |end| idle.min(end.duration_since(now)))
    }

    /// Returns the [`record_ttl`](Self::record_ttl) from now on. Reads the clock only if the session has an end.
    pub(crate) fn record_ttl_from_now(&self, lifetime: &Lifetime) -> Duration {
        let idle = self.policy.idle_ttl(self.max_age(lifetime));
        let end = self.end(lifetime);
        end.map_or(idle, |end| idle.min(end.duration_since(self.clock.now())))
    }

    /// Returns when a session expires that was last renewed or written at `seen`. The store keeps it for
    /// up to a touch interval longer.
    pub(crate) fn expires_at(&self, lifetime: &Lifetime, seen: Timestamp) -> Timestamp {
        let idle = seen.saturating_add(self.max_age(lifetime));
        self.end(lifetime).map_or(idle, |end| idle.min(end))
    }

    /// Returns `true` if the session's cookies have no `Max-Age`.
    pub(crate) fn clears_with_browser(&self, lifetime: &Lifetime) -> bool {
        let is_default = self.policy.clear_with_browser && lifetime.max_age().is_none();
        is_default || lifetime.is_browser_session()
    }

    /// Returns the `Max-Age` of the session's cookie, or `None` if the browser drops it when it closes.
    pub(crate) fn cookie_max_age(&self, lifetime: &Lifetime) -> Option<Duration> {
        (!self.clears_with_browser(lifetime)).then(|| self.max_age(lifetime))
    }

    /// Returns the time that a session may be idle. The session may have set its timeout when the limit was
    /// higher.
    fn max_age(&self, lifetime: &Lifetime) -> Duration {
        let own = lifetime.max_age();
        own.map_or(self.policy.age, |own| own.min(self.policy.max_age_limit))
    }

    /// Returns when a record with the time to live `ttl` at `now` was last touched or written. Returns `None` if
    /// the end of the session bounds the time to live, or if it comes from another idle timeout.
    pub(crate) fn last_touch(
        &self,
        lifetime: &Lifetime,
        ttl: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let idle = self.policy.idle_ttl(self.max_age(lifetime));
        let latest = now.saturating_add(ttl).saturating_add(TTL_TOLERANCE);
        let is_bounded = self.end(lifetime).is_some_and(|end| end <= latest);
        let own = lifetime.max_age();
        let is_limited = own.is_some_and(|own| own > self.policy.max_age_limit);
        if is_bounded || is_limited || ttl > idle.saturating_add(TTL_TOLERANCE) {
            return None;
        }
        let elapsed = idle.saturating_sub(ttl).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let touched = Timestamp::from_millis(now.as_millis().saturating_sub(elapsed));
        let is_possible = touched.saturating_add(TTL_TOLERANCE) >= lifetime.created;
        is_possible.then(|| touched.max(lifetime.created))
    }

    fn end(&self, lifetime: &Lifetime) -> Option<Timestamp> {
        let timeout = self.policy.absolute_timeout;
        let end = timeout.map(|timeout| lifetime.created.saturating_add(timeout));
        match (end, lifetime.end()) {
            (Some(end), Some(own)) => Some(end.min(own)),
            (end, own) => end.or(own),
        }
    }
}

impl Engine {
    /// Appends the value of an id cookie to `out`.
    pub(crate) fn seal(&self, cookie: &IdCookie, out: &mut CookieText) -> Result<(), SessionError> {
        self.format
            .seal_id(cookie, out)
            .map_err(SessionError::Cookie)
    }
}
