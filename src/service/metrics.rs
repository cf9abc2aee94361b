//! Metrics for the `metrics` facade.

use std::any::TypeId;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use super::Sessions;
use crate::{
    session::{Event, Listener, Listeners, SessionError},
    store::StoreStat,
};

/// A metric that this crate records.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MetricDescription {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: MetricKind,
    /// The unit.
    pub unit: Unit,
    /// The meaning.
    pub help: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only rises.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// A distribution.
    Histogram,
}

const fn counts(name: &'static str, help: &'static str) -> MetricDescription {
    describe(name, MetricKind::Counter, Unit::Count, help)
}

const fn gauges(name: &'static str, unit: Unit, help: &'static str) -> MetricDescription {
    describe(name, MetricKind::Gauge, unit, help)
}

const fn times(name: &'static str, help: &'static str) -> MetricDescription {
    describe(name, MetricKind::Histogram, Unit::Seconds, help)
}

const fn describe(
    name: &'static str,
    kind: MetricKind,
    unit: Unit,
    help: &'static str,
) -> MetricDescription {
    MetricDescription {
        name,
        kind,
        unit,
        help,
    }
}

/// All metrics of this crate and of its stores.
const METRICS: &[MetricDescription] = &[
    times(
        "hyper_session_load_seconds",
        "Time of loads, by store and outcome",
    ),
    times(
        "hyper_session_commit_seconds",
        "Time of commits, by store and outcome",
    ),
    counts("hyper_session_events_total", "Events, by name and reason"),
    gauges(
        "hyper_session_queues",
        Unit::Count,
        "Sessions with commits that wait for each other",
    ),
    gauges(
        "hyper_session_queued_commits",
        Unit::Count,
        "Commits that wait for another commit of their session",
    ),
    gauges(
        "hyper_session_store_records",
        Unit::Count,
        "Stored sessions, expired ones that are not removed yet included",
    ),
    gauges(
        "hyper_session_store_tombstones",
        Unit::Count,
        "Tombstones of destroyed sessions",
    ),
    gauges(
        "hyper_session_store_bytes",
        Unit::Bytes,
        "Stored data: memory of the memory store, frames in use of the file store",
    ),
    counts(
        "hyper_session_store_expired_total",
        "Expired records and tombstones that were removed",
    ),
    counts(
        "hyper_session_store_evicted_total",
        "Living records and tombstones that the memory store removed at its limits",
    ),
    gauges(
        "hyper_session_file_disk_bytes",
        Unit::Bytes,
        "Length of all files of the file store",
    ),
    gauges(
        "hyper_session_file_disk_limit_bytes",
        Unit::Bytes,
        "Limit of the file store's files",
    ),
    gauges("hyper_session_file_segments", Unit::Count, "Segment files"),
    gauges(
        "hyper_session_file_backlog_bytes",
        Unit::Bytes,
        "Writes that wait for the disk",
    ),
    counts("hyper_session_file_syncs_total", "Syncs of the file store"),
    counts(
        "hyper_session_file_waits_total",
        "Writes that waited for a compaction to make room",
    ),
    counts(
        "hyper_session_file_compacted_segments_total",
        "Segments that were compacted",
    ),
    counts(
        "hyper_session_file_compacted_bytes_total",
        "Bytes of the segments that compactions deleted",
    ),
    counts(
        "hyper_session_file_copied_bytes_total",
        "Bytes that compactions copied",
    ),
    gauges(
        "hyper_session_file_damaged_places",
        Unit::Count,
        "Damaged places that were found",
    ),
    gauges(
        "hyper_session_file_previous_key_records",
        Unit::Count,
        "Records that a key other than the first one encrypted",
    ),
    gauges(
        "hyper_session_redis_connections",
        Unit::Count,
        "Open connections to the Redis servers",
    ),
    gauges(
        "hyper_session_redis_operations",
        Unit::Count,
        "Operations that wait for a Redis server",
    ),
    gauges(
        "hyper_session_redis_outages",
        Unit::Count,
        "Redis servers that do not answer or reject writes",
    ),
    counts(
        "hyper_session_redis_outages_total",
        "Outages of Redis servers",
    ),
    counts(
        "hyper_session_redis_retries_total",
        "Attempts that were retries",
    ),
];

/// The events without a reason that alerts count. Prometheus computes no increase for a counter whose first scraped
/// value is above 0.
const ALERT_EVENTS: [&str; 3] = ["store_stopped", "record_unreadable", "prefix_shared"];

/// # Metrics
impl Sessions {
    /// Records the gauges and counters of the stores and of the queues of hot sessions. Call it before
    /// each scrape.
    ///
    /// The other metrics are recorded when their events happen. See the guide's page on events for the
    /// names.
    pub fn record_metrics(&self) {
        let (queues, commits) = self.0.queues.lengths();
        gauge!("hyper_session_queues").set(queues as f64);
        gauge!("hyper_session_queued_commits").set(commits as f64);
        let store = self.0.backend.store();
        store.report_stats(&mut |store, stat| match stat {
            StoreStat::Gauge(name, value) => {
                gauge!(format!("hyper_session_{name}"), "store" => store).set(value as f64);
            }
            StoreStat::Counter(name, value) => {
                counter!(format!("hyper_session_{name}"), "store" => store).absolute(value);
            }
        });
    }

    /// Describes all metrics, with their units, to the recorder. Records the counters of `store_stopped`,
    /// `record_unreadable` and `prefix_shared`, with the value 0. Call it once after the recorder is
    /// installed. Returns the descriptions.
    pub fn describe_metrics() -> &'static [MetricDescription] {
        for metric in METRICS {
            let MetricDescription {
                name,
                kind,
                unit,
                help,
            } = *metric;
            match kind {
                MetricKind::Counter => describe_counter!(name, unit, help),
                MetricKind::Gauge => describe_gauge!(name, unit, help),
                MetricKind::Histogram => describe_histogram!(name, unit, help),
            }
        }
        for event in ALERT_EVENTS {
            counter!("hyper_session_events_total", "event" => event).increment(0);
        }
        METRICS
    }
}

/// Returns the type of [`MetricsListener`], which every service has.
pub(super) fn listener() -> Option<TypeId> {
    Some(TypeId::of::<MetricsListener>())
}

pub(super) fn add_listener(listeners: &mut Listeners) {
    listeners.add(MetricsListener);
}

/// The listener that counts every event in `hyper_session_events_total`. Every service has it.
///
/// The label `event` is the [event's name](Event::name). Dropped writes, rejected cookies, failed CSRF
/// checks, adjusted settings, and failures and problems of the store also have the label `reason`. Each label has a fixed
/// set of values.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsListener;

impl Listener for MetricsListener {
    fn on_event(&self, event: &Event<'_>) {
        let name = event.name();
        match event {
            // These are frequent. With constant labels they allocate nothing.
            Event::Initiated { .. } => {
                counter!("hyper_session_events_total", "event" => "initiated")
            }
            Event::Committed { .. } => {
                counter!("hyper_session_events_total", "event" => "committed")
            }
            Event::WriteDropped { reason, .. }
            | Event::CookieRejected { reason }
            | Event::CsrfFailed { reason }
            | Event::ConfigAdjusted { reason } => {
                counter!("hyper_session_events_total", "event" => name, "reason" => *reason)
            }
            Event::StoreProblem { problem, .. } => {
                counter!("hyper_session_events_total", "event" => name, "reason" => *problem)
            }
            Event::StoreFailed { error, .. } => {
                let reason = failure_reason(error);
                counter!("hyper_session_events_total", "event" => name, "reason" => reason)
            }
            _ => counter!("hyper_session_events_total", "event" => name),
        }
        .increment(1);
    }
}

/// Returns the reason of a store's failure.
fn failure_reason(error: &SessionError) -> &'static str {
    match error {
        error if error.is_outage() => "outage",
        error if error.is_too_large() => "too_large",
        SessionError::Store(_) => "store",
        _ => "record",
    }
}
