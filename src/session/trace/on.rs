//! Spans around loads and commits, under the target `hyper_session`.

use tracing::{debug_span, span::EnteredSpan};

/// The span of one future. It is entered at every poll.
#[derive(Clone, Debug)]
pub(in crate::session) struct Span(tracing::Span);

impl Span {
    pub(in crate::session) fn load() -> Self {
        Self(debug_span!(target: "hyper_session", "session.load"))
    }

    pub(in crate::session) fn commit() -> Self {
        Self(debug_span!(target: "hyper_session", "session.commit"))
    }

    pub(in crate::session) fn enter(&self) -> EnteredSpan {
        self.0.clone().entered()
    }
}
