//! What stands for spans where nobody asked for them: nothing.

#[derive(Clone, Debug)]
pub(in crate::session) struct Span;

/// Held while a span would be entered.
pub(in crate::session) struct Entered;

impl Span {
    pub(in crate::session) const fn load() -> Self {
        Self
    }

    pub(in crate::session) const fn commit() -> Self {
        Self
    }

    pub(in crate::session) const fn enter(&self) -> Entered {
        Entered
    }
}
