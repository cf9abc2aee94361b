//! Spans around loads and commits, under the target `hyper_session`.

use tracing::{debug_span, field::Empty, span::EnteredSpan};

use super::{OperationEnd, TracedOperation};

pub(in crate::session) type SpanGuard = EnteredSpan;

/// The span of one operation.
#[derive(Clone, Debug)]
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

    pub(super) fn record(&self, end: &OperationEnd) {
        if !self.0.is_disabled() {
            self.0.record("outcome", end.outcome);
            self.0.record("attempts", end.attempts);
            self.0.record("bytes", end.bytes);
        }
    }
}
