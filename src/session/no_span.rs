//! What stands for spans where nobody asked for them: nothing.

#[derive(Clone, Debug)]
pub(super) struct Span;

/// Held while a span would be entered.
pub(super) struct Entered;

impl Span {
    pub(super) const fn load() -> Self {
        Self
    }

    pub(super) const fn commit() -> Self {
        Self
    }

    pub(super) const fn enter(&self) -> Entered {
        Entered
    }
}
