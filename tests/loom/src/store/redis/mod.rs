//! The Redis store.

mod client;

/// A failure that a retry may repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransientError {
    ConnectionLost,
    NotSent,
}
