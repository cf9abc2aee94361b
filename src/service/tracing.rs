//! Events as `tracing` log entries.

use std::any::TypeId;

use tracing::{Level, debug, enabled, field::display, info, warn};

use super::{outage_log::OutageListener, throttle::Throttle};
use crate::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    session::{Engine, Event, Listener, Listeners},
};

/// Failures of the store that are no outage.
static FAILURES: Throttle = Throttle::new();
static CONFLICTS: Throttle = Throttle::new();
static DROPPED_WRITES: Throttle = Throttle::new();
/// Records that are unreadable.
static UNREADABLE_RECORDS: Throttle = Throttle::new();

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
/// Of the warnings that clients can cause again and again, there is at most one in ten seconds, with the number of those
/// left out as `left_out`; these have level debug. The kinds are conflicts; dropped writes; unreadable
/// records; and records of a newer release with sessions over the size limit of the store. The services of a process share
/// the limit.
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
            Event::Conflict { key, path } => match CONFLICTS.admit(now()) {
                Some(left_out) => {
                    warn!(target: "hyper_session", event = name, %key, path, left_out)
                }
                None => debug!(target: "hyper_session", event = name, %key, path),
            },
            Event::WriteDropped { .. } | Event::RecordUnreadable { .. } => log_loss(event),
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
                } else if let Some(left_out) = FAILURES.admit(now()) {
                    warn!(target: "hyper_session", event = name, key, %error, left_out);
                } else {
                    debug!(target: "hyper_session", event = name, key, %error);
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

/// Logs an event about data that was not stored or cannot be read.
fn log_loss(event: &Event<'_>) {
    let name = event.name();
    match event {
        Event::WriteDropped { key, reason } => match DROPPED_WRITES.admit(now()) {
            Some(left_out) => warn!(target: "hyper_session", event = name, %key, reason, left_out),
            None => debug!(target: "hyper_session", event = name, %key, reason),
        },
        Event::RecordUnreadable { key } => match UNREADABLE_RECORDS.admit(now()) {
            Some(left_out) => warn!(target: "hyper_session", event = name, %key, left_out),
            None => debug!(target: "hyper_session", event = name, %key),
        },
        _ => {}
    }
}

fn now() -> Timestamp {
    Clock::system().now()
}
