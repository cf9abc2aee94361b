//! The steps of a commit.

use super::touch::Renewal;
use crate::{
    id::StoreKey,
    session::{SessionError, state::IdStatus},
    store::{StoreFuture, WriteOutcome},
};

/// The store operation that a commit waits for. A key is the key of the session's record, unless
/// the variant says otherwise.
#[derive(Debug)]
pub(super) enum CommitStep {
    /// Choose the first operation.
    Plan,
    /// Renew an unloaded session.
    Touching(Renewal),
    /// Destroy the session with this key, as the request asked for.
    Destroying(StoreFuture<()>, StoreKey),
    /// Write the record.
    Writing(StoreFuture<WriteOutcome>, StoreKey),
    /// Replace the old record with a fence, unless another request wrote it in the meantime.
    Fencing(StoreFuture<WriteOutcome>, StoreKey),
    /// Destroy the old record, in a store that has no fences because it has no versions.
    DestroyingOld(StoreFuture<()>, StoreKey),
    /// Destroy the new record, because the regeneration failed.
    RollingBack(StoreFuture<()>, Rollback),
    Done,
}

/// The next step of a commit, or the error that ends it.
pub(super) type StepResult = Result<CommitStep, SessionError>;

/// The reason for rolling a regeneration back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rollback {
    /// Another request destroyed or regenerated the session.
    Lost(IdStatus),
    /// Other requests wrote under the old id during every attempt.
    Contention,
}
