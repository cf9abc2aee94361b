//! Empty timers, for builds without the `metrics` feature.

use super::{OperationEnd, TracedOperation};

pub(crate) struct OperationMeters;

impl OperationMeters {
    pub(crate) const fn new(_: &'static str) -> Self {
        Self
    }
}

#[derive(Clone, Debug)]
pub(super) struct Timer;

impl Timer {
    pub(super) const fn start() -> Self {
        Self
    }

    pub(super) const fn record(&self, _: &OperationMeters, _: TracedOperation, _: &OperationEnd) {}
}
