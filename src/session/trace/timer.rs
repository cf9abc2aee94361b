//! Durations of loads and commits, for the `metrics` facade.

use std::{sync::Arc, time::Instant};

use metrics::{Key, Label, Level, Metadata, with_recorder};

use super::{CANCELLED, TracedOperation};

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

const OUTCOME_COUNT: usize = 14;

/// The outcomes of loads and commits.
const OUTCOMES: [&str; OUTCOME_COUNT] = [
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
    CANCELLED,
];

/// The histograms of one kind of operation, by outcome. Each is a prepared key, so that a record allocates
/// nothing.
type OutcomeKeys = Arc<[Key; OUTCOME_COUNT]>;

/// The histograms of one service.
pub(crate) struct OperationMeters {
    load: OutcomeKeys,
    commit: OutcomeKeys,
}

impl OperationMeters {
    pub(crate) fn new(store: &'static str) -> Self {
        let keys = |name: &'static str| {
            let key = |outcome: &'static str| {
                let labels = [("store", store), ("outcome", outcome)];
                let labels = labels.map(|(name, value)| Label::from_static_parts(name, value));
                Key::from_parts(name, labels.to_vec())
            };
            Arc::new(OUTCOMES.map(key))
        };
        Self {
            load: keys("hyper_session_load_seconds"),
            commit: keys("hyper_session_commit_seconds"),
        }
    }
}

/// The start of one operation.
#[derive(Debug)]
pub(super) struct Timer {
    start: Instant,
    /// `None` after the end.
    keys: Option<OutcomeKeys>,
}

impl Timer {
    pub(super) fn start(kind: TracedOperation, meters: &OperationMeters) -> Self {
        let keys = match kind {
            TracedOperation::Load => &meters.load,
            TracedOperation::Commit => &meters.commit,
        };
        Self {
            start: Instant::now(),
            keys: Some(keys.clone()),
        }
    }

    pub(super) fn record(&mut self, outcome: &'static str) {
        let keys = self.keys.take();
        let outcome = OUTCOMES.iter().position(|other| *other == outcome);
        if let (Some(keys), Some(outcome)) = (&keys, outcome)
            && let Some(key) = keys.get(outcome)
        {
            let seconds = self.start.elapsed().as_secs_f64();
            with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(seconds));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.keys.is_some() {
            self.record(CANCELLED);
        }
    }
}
