//! Spans around loads and commits, under the target `hyper_session`.

use tracing::{debug_span, field::Empty, span::EnteredSpan};

use super::{CANCELLED, OperationEnd, TracedOperation};

pub(in crate::session) type SpanGuard = EnteredSpan;

/// The span of one operation.
#[derive(Debug)]
pub(super) struct Span(tracing::Span);

impl Span {
    pub(super) fn new(kind: TracedOperation, store: &'static str) -> Self {
        Self(match kind {
            TracedOperation::Load => debug_span!(
                target: "hyper_session", "session.load", store, outcome = Empty, attempts = Empty,
                bytes = Empty
            ),
            TracedOperation::Commit => debug_span!(
                target: "hyper_session", "session.commit", store, outcome = Empty, attempts = Empty,
                bytes = Empty
            ),
        })
    }

    pub(super) fn enter(&self) -> SpanGuard {
        self.0.clone().entered()
    }

    /// Records the end, and closes the span.
    pub(super) fn record(&mut self, end: &OperationEnd) {
        let span = std::mem::replace(&mut self.0, tracing::Span::none());
        if !span.is_disabled() {
            span.record("outcome", end.outcome);
            span.record("attempts", end.attempts);
            span.record("bytes", end.bytes);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.0.is_disabled() {
            self.0.record("outcome", CANCELLED);
        }
    }
}
