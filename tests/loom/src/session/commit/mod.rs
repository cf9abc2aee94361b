//! Commits.

#[path = "../../../../../src/session/commit/queue/mod.rs"]
#[allow(unused_imports, reason = "other modules of the library use it")]
pub(super) mod queue;
mod tests;
