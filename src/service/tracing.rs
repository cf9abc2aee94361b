//! Events as `tracing` logs.

use tracing::{debug, warn};

use crate::session::{Event, Listener};

/// Writes every event to `tracing`, under the target `hyper_session`: failures and dropped
/// writes as warnings, the rest for debugging. Sessions are named by the hash of their id.
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
            Event::Migrated { from, to } => {
                debug!(target: "hyper_session", event = name, %from, %to);
            }
            Event::ConflictResolved { key, attempts } => {
                debug!(target: "hyper_session", event = name, %key, attempts);
            }
            Event::WriteDropped { key, reason } => {
                warn!(target: "hyper_session", event = name, %key, reason);
            }
            Event::CookieRejected { reason } | Event::CsrfRefused { reason } => {
                // A stranger can cause this at will: it must not be able to fill a log.
                debug!(target: "hyper_session", event = name, reason);
            }
            Event::StoreFailed { error } => {
                warn!(target: "hyper_session", event = name, %error);
            }
            Event::ConfigAdjusted { reason } => {
                warn!(target: "hyper_session", event = name, reason);
            }
        }
    }
}
