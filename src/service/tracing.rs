//! Events as `tracing` logs.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, warn};

use crate::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    session::{Event, Listener},
};

/// A store that is away fails every request: one line in this many milliseconds tells of it.
const QUIET: u64 = 10_000;

/// When a failure of a store was logged last, and how many there were since.
static LOGGED: AtomicU64 = AtomicU64::new(0);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Writes every event to `tracing`, under the target `hyper_session`: failures and dropped
/// writes as warnings, the rest for debugging. Sessions are named by the hash of their id.
///
/// An outage does not fill a log. Where the store tells of it ([`Event::StoreUnavailable`]), there is a
/// warning when it begins and one when it ends, with how long it was and how many operations failed;
/// the failures in between are for debugging. Of all other failures one in ten seconds is a warning,
/// with the number of those that were left out since (`left_out`). The counters of `MetricsListener`
/// have them all.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingListener;

impl Listener for TracingListener {
    fn on_event(&self, happened: &Event<'_>) {
        let name = happened.name();
        match happened {
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
            Event::WriteDropped { key, reason } => {
                warn!(target: "hyper_session", event = name, %key, reason);
            }
            Event::CookieRejected { reason } | Event::CsrfFailed { reason } => {
                // A stranger can cause this at will: it must not be able to fill a log.
                debug!(target: "hyper_session", event = name, reason);
            }
            Event::StoreUnavailable { store, reason } => {
                warn!(target: "hyper_session", event = name, store, reason);
            }
            // As loud as the beginning: whoever reads of that waits for the end.
            Event::StoreRecovered {
                store,
                lasted,
                failed,
            } => {
                warn!(target: "hyper_session", event = name, store, ?lasted, failed);
            }
            Event::StoreFailed { error } if error.is_outage() => {
                debug!(target: "hyper_session", event = name, error = %ErrorChain(error));
            }
            Event::StoreFailed { error } => {
                if let Some(left_out) = admit(Clock::system().now()) {
                    warn!(target: "hyper_session", event = name, error = %ErrorChain(error), left_out);
                }
            }
            Event::ConfigAdjusted { reason } => {
                warn!(target: "hyper_session", event = name, reason);
            }
        }
    }
}

/// Whether to log a failure now, and how many were left out before it.
fn admit(now: Timestamp) -> Option<u64> {
    let (last, now) = (LOGGED.load(Ordering::Relaxed), now.as_millis());
    let is_due = last == 0 || now.abs_diff(last) >= QUIET;
    let swap = || LOGGED.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
    if is_due && swap().is_ok() {
        return Some(LEFT_OUT.swap(0, Ordering::Relaxed));
    }
    LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    None
}
