//! Log entries through `tracing`, with the target `hyper_session`.

use tracing::warn;

use super::{NAME, outage::Outage};
use crate::{clock::Timestamp, document::IsoDate};

/// Outages are logged.
pub(super) const IS_ENABLED: bool = true;

/// Logs another application that uses the same prefix.
pub(super) fn shared_prefix(prefix: &str, other_started: Timestamp) {
    let other_started = IsoDate::from(std::time::SystemTime::from(other_started));
    warn!(
        target: "hyper_session", event = "prefix_shared", store = NAME, prefix, %other_started,
        "another application uses the same `prefix`; give each application a prefix of its own"
    );
}

/// Logs the start or end of an outage.
pub(super) fn outage(outage: &Outage) {
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
