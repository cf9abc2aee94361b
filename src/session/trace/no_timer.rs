//! Empty timers, for builds without the `metrics` feature.

use super::TracedOperation;

pub(crate) struct OperationMeters;

impl OperationMeters {
    pub(crate) const fn new(_: &'static str) -> Self {
        Self
    }
}

#[derive(Debug)]
pub(super) struct Timer;

impl Timer {
    pub(super) const fn start(_: TracedOperation, _: &OperationMeters) -> Self {
        Self
    }

    pub(super) const fn record(&mut self, _: &'static str) {}
}
