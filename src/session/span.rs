//! Spans around loads and commits, under the target `hyper_session`.

use tracing::{debug_span, span::EnteredSpan};

/// The span of one future; entered whenever it is polled.
#[derive(Clone, Debug)]
pub(super) struct Span(tracing::Span);

impl Span {
    pub(super) fn load() -> Self {
        Self(debug_span!(target: "hyper_session", "session.load"))
    }

    pub(super) fn commit() -> Self {
        Self(debug_span!(target: "hyper_session", "session.commit"))
    }

    pub(super) fn enter(&self) -> EnteredSpan {
        self.0.clone().entered()
    }
}
