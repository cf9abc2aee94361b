//! Durations of loads and commits, for the `metrics` facade.

use std::time::Instant;

use metrics::{Key, Label, Level, Metadata, with_recorder};

use super::{OperationEnd, TracedOperation};

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The outcomes of loads and commits.
const OUTCOMES: [&str; 13] = [
    "found",
    "new",
    "stored",
    "unchanged",
    "renewed",
    "destroyed",
    "dropped",
    "conflict",
    "contention",
    "too_large",
    "unavailable",
    "disabled",
    "failed",
];

/// The histograms of one service. Each is a prepared key, so that a record allocates nothing.
pub(crate) struct OperationMeters {
    load: Box<[Key]>,
    commit: Box<[Key]>,
}

impl OperationMeters {
    pub(crate) fn new(store: &'static str) -> Self {
        let keys = |name: &'static str| {
            let key = |outcome: &'static str| {
                let labels = [("store", store), ("outcome", outcome)];
                let labels = labels.map(|(name, value)| Label::from_static_parts(name, value));
                Key::from_parts(name, labels.to_vec())
            };
            OUTCOMES.map(key).into()
        };
        Self {
            load: keys("hyper_session_load_seconds"),
            commit: keys("hyper_session_commit_seconds"),
        }
    }
}

/// The start of one operation.
#[derive(Clone, Debug)]
pub(super) struct Timer(Instant);

impl Timer {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn record(
        &self,
        meters: &OperationMeters,
        kind: TracedOperation,
        end: &OperationEnd,
    ) {
        let keys = match kind {
            TracedOperation::Load => &meters.load,
            TracedOperation::Commit => &meters.commit,
        };
        let outcome = OUTCOMES.iter().position(|other| *other == end.outcome);
        if let Some(key) = outcome.and_then(|outcome| keys.get(outcome)) {
            let seconds = self.0.elapsed().as_secs_f64();
            with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(seconds));
        }
    }
}
