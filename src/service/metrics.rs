//! Events as `metrics` counters.

use metrics::counter;

use crate::session::{Event, Listener};

/// Counts every event in `hyper_session_events_total`, labelled `event` with the event's name and,
/// where there is one, `reason`. No label holds anything of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsListener;

impl Listener for MetricsListener {
    fn on_event(&self, happened: &Event<'_>) {
        let event = happened.name();
        match happened {
            Event::WriteDropped { reason, .. }
            | Event::CookieRejected { reason }
            | Event::CsrfFailed { reason }
            | Event::ConfigAdjusted { reason } => {
                counter!("hyper_session_events_total", "event" => event, "reason" => *reason)
            }
            _ => counter!("hyper_session_events_total", "event" => event),
        }
        .increment(1);
    }
}
