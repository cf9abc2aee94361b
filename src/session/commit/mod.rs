//! The end of a request: storing its changes, and choosing its cookies.
//!
//! [`plan`] chooses what to store. [`Commit`] runs the store operations one after the other.
//! [`finish`] chooses the `Set-Cookie` lines of the response.

mod finish;
mod future;
mod plan;
mod queue;
mod regenerate;
mod step;
mod touch;
mod update;

pub(crate) use finish::{FinalCommit, SessionOutcome};
pub use future::Commit;
pub(crate) use queue::CommitQueues;
pub(in crate::session) use queue::{MAX_CONFLICT_SHIFT, pause};
