//! Event counters for the `metrics` facade.

use metrics::counter;

use crate::session::{Event, Listener};

/// A listener that counts every event in `hyper_session_events_total`.
///
/// The label `event` is the [event's name](Event::name). Dropped writes, rejected cookies, failed CSRF
/// checks and adjusted settings also have the label `reason`. No label contains session data, ids or
/// keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsListener;

impl Listener for MetricsListener {
    fn on_event(&self, event: &Event<'_>) {
        let name = event.name();
        match event {
            Event::WriteDropped { reason, .. }
            | Event::CookieRejected { reason }
            | Event::CsrfFailed { reason }
            | Event::ConfigAdjusted { reason } => {
                counter!("hyper_session_events_total", "event" => name, "reason" => *reason)
            }
            _ => counter!("hyper_session_events_total", "event" => name),
        }
        .increment(1);
    }
}
