//! Outages as `tracing` log entries.

use tracing::warn;

use super::{NAME, outage::Outage};

/// Outages are logged.
pub(super) const IS_ENABLED: bool = true;

/// Writes a log entry with the target `hyper_session`.
pub(super) fn log(outage: &Outage) {
    match outage {
        Outage::Started { server, reason, .. } => {
            warn!(
                target: "hyper_session", event = "store_away", store = NAME, server = %server,
                reason = %reason
            );
        }
        // The level of the outage's beginning, so that a log that has one entry has both.
        Outage::Ended {
            server,
            lasted,
            failed,
        } => {
            warn!(
                target: "hyper_session", event = "store_back", store = NAME, server = %server, ?lasted,
                failed
            );
        }
    }
}
