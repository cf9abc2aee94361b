//! Spans and durations of loads and commits. Without the features `tracing` and `metrics` they are empty
//! types.

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod on;
#[cfg(feature = "metrics")]
mod timer;
#[cfg(not(feature = "metrics"))]
#[path = "no_timer.rs"]
mod timer;

#[cfg(not(feature = "tracing"))]
use off::{Span, SpanGuard};
#[cfg(feature = "tracing")]
use on::{Span, SpanGuard};
pub(crate) use timer::OperationMeters;
use timer::Timer;

use super::Engine;

/// The outcome of an operation whose future was dropped before its end.
#[allow(dead_code, reason = "the empty types do not record it")]
const CANCELLED: &str = "cancelled";

/// The kind of an operation on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TracedOperation {
    Load,
    Commit,
}

/// The end of an operation on a session.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "the empty types ignore it")]
pub(super) struct OperationEnd {
    /// One of a few words.
    pub(super) outcome: &'static str,
    /// Number of store operations that were tried for the same purpose.
    pub(super) attempts: u32,
    /// Length of the session's data.
    pub(super) bytes: usize,
}

/// The span and the duration of one load or commit. If it is dropped before its end, the operation was
/// cancelled.
#[derive(Debug)]
pub(super) struct OperationTrace {
    span: Span,
    timer: Timer,
}

impl OperationTrace {
    pub(super) fn load(engine: &Engine) -> Self {
        Self::begin(engine, TracedOperation::Load)
    }

    pub(super) fn commit(engine: &Engine) -> Self {
        Self::begin(engine, TracedOperation::Commit)
    }

    fn begin(engine: &Engine, kind: TracedOperation) -> Self {
        Self {
            span: Span::new(kind, engine.store_name),
            timer: Timer::start(kind, &engine.meters),
        }
    }

    /// Enters the span. It is entered at every poll.
    pub(super) fn enter(&self) -> SpanGuard {
        self.span.enter()
    }

    /// Records the end of the operation.
    pub(super) fn end(&mut self, end: &OperationEnd) {
        self.span.record(end);
        self.timer.record(end.outcome);
    }
}
