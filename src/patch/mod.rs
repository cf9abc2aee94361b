//! What a request did to its session: operations over a snapshot.
//!
//! A [`Patch`] does an edit on the document at once, so that reads see it, and keeps the operation,
//! so that it can be done again on a newer snapshot when another request was faster. That is why two
//! increments add up, and why a put to one key does not take back a parallel put to another.

mod error;
mod operations;
mod rebase;

pub use error::ChangeError;
pub use operations::{ChangeLimits, Patch};
pub use rebase::RebaseReport;
