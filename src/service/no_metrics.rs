//! Metrics of a program that was built without `metrics`.

use std::any::TypeId;

use crate::session::Listeners;

/// There is no listener.
pub(super) const fn listener() -> Option<TypeId> {
    None
}

pub(super) const fn add_listener(_: &mut Listeners) {}
