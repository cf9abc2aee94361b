//! Events as `tracing` log entries.

use std::{
    any::TypeId,
    sync::atomic::{AtomicU64, Ordering},
};

use tracing::{Level, debug, enabled, field::display, info, warn};

use super::outage_log::OutageListener;
use crate::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    session::{Engine, Event, Listener, Listeners},
};

/// Minimum interval between two warnings about store failures that are no outage.
const LOG_INTERVAL_MS: u64 = 10_000;

/// Time of the last warning about a store failure, in milliseconds since the epoch.
static LAST_WARNING: AtomicU64 = AtomicU64::new(0);
/// Number of store failures since the last warning.
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

/// The listener that writes every event to `tracing`, with the target `hyper_session`. Every service has
/// it.
///
/// The start is one entry with level info: the store, the cookie and the policies.
///
/// Failures, unreadable records, dropped writes, conflicts, adjusted settings and the problems of a file
/// store are warnings; all other events have level debug. Entries identify a session by the hash of its id.
///
/// An outage does not fill the log: one warning when it begins and one when it ends. The second has the
/// duration and the number of failed operations. The failures in between have level debug, and
/// `MetricsListener` counts all of them. The Redis store itself logs its outages, even without this
/// listener. For any other store, each service logs the outages that it meets:
///
/// - An outage begins with a failure, but not within ten seconds of the end of the last outage. The
///   number of failures within this time is `left_out` of the next beginning.
/// - It ends with the next commit or destruction that succeeds. If only reads failed
///   ([`StoreError::operation`](crate::store::StoreError::operation) is `read`), the load of a stored
///   session ends it, too.
///
/// Records of a newer release, and sessions over the size limit of the store, are at most one warning in
/// ten seconds, with the number of suppressed failures as `left_out`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingListener;

/// Returns the type of [`TracingListener`], which every service has.
pub(super) fn listener() -> Option<TypeId> {
    Some(TypeId::of::<TracingListener>())
}

pub(super) fn add_listener(listeners: &mut Listeners, clock: &Clock) {
    listeners.add(OutageListener::new(clock.clone()));
}

/// Logs the configuration of a service that was built.
pub(super) fn started(engine: &Engine) {
    let policy = &engine.policy;
    info!(
        target: "hyper_session",
        event = "started",
        store = engine.store_name,
        cookie = engine.set_cookie.name().as_str(),
        enabled = policy.enabled,
        age = ?policy.age,
        absolute_timeout = ?policy.absolute_timeout,
        touch_interval = ?policy.touch_interval,
        commit_timeout = ?policy.commit_timeout,
        cookie_policy = ?policy.cookie,
        clear_with_browser = policy.clear_with_browser,
        on_store_failure = ?policy.on_store_failure,
        on_conflict = ?policy.on_conflict,
        on_too_large = ?policy.on_too_large,
        "sessions are configured"
    );
}

impl Listener for TracingListener {
    fn wants_routine_events(&self) -> bool {
        enabled!(target: "hyper_session", Level::DEBUG)
    }

    fn on_event(&self, event: &Event<'_>) {
        let name = event.name();
        match event {
            Event::Initiated { key, fresh } => {
                debug!(target: "hyper_session", event = name, %key, fresh);
            }
            Event::Committed { key } | Event::Destroyed { key } => {
                debug!(target: "hyper_session", event = name, %key);
            }
            Event::Regenerated { from, to } => {
                debug!(target: "hyper_session", event = name, %from, %to);
            }
            Event::ConflictResolved { key, attempts } => {
                debug!(target: "hyper_session", event = name, %key, attempts);
            }
            Event::Conflict { key, path } => {
                warn!(target: "hyper_session", event = name, %key, path);
            }
            Event::WriteDropped { key, reason } => {
                warn!(target: "hyper_session", event = name, %key, reason);
            }
            Event::RecordUnreadable { key } => {
                warn!(target: "hyper_session", event = name, %key);
            }
            Event::CookieRejected { reason } | Event::CsrfFailed { reason } => {
                // Any client can cause these events, so they must not fill the log.
                debug!(target: "hyper_session", event = name, reason);
            }
            Event::StoreStopped { store, reason } => {
                warn!(target: "hyper_session", event = name, store, reason);
            }
            Event::StoreProblem {
                store,
                problem,
                message,
            } => {
                warn!(target: "hyper_session", event = name, store, problem, message);
            }
            // The store itself has logged it, with or without this listener.
            Event::StoreUnavailable { .. }
            | Event::StoreRecovered { .. }
            | Event::PrefixShared { .. } => {}
            Event::StoreFailed { key, error } => {
                let is_outage = error.is_outage();
                let (key, error) = (key.map(display), ErrorChain(error));
                if is_outage {
                    debug!(target: "hyper_session", event = name, key, %error);
                } else if let Some(left_out) = throttle(Clock::system().now()) {
                    warn!(target: "hyper_session", event = name, key, %error, left_out);
                }
            }
            Event::LayerConflict { cookie_name } => {
                warn!(target: "hyper_session", event = name, cookie_name);
            }
            Event::ConfigAdjusted { reason } => {
                warn!(target: "hyper_session", event = name, reason);
            }
        }
    }
}

/// Returns the number of failures since the last warning if another warning is due; otherwise `None`.
fn throttle(now: Timestamp) -> Option<u64> {
    let (last, now) = (LAST_WARNING.load(Ordering::Relaxed), now.as_millis());
    let is_due = last == 0 || now.abs_diff(last) >= LOG_INTERVAL_MS;
    let swap = || LAST_WARNING.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
    if is_due && swap().is_ok() {
        return Some(SUPPRESSED.swap(0, Ordering::Relaxed));
    }
    SUPPRESSED.fetch_add(1, Ordering::Relaxed);
    None
}
