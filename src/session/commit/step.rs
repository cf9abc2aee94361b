//! The steps of a commit.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    id::StoreKey,
    session::{SessionError, state::IdStatus},
    store::{StoreError, StoreFuture, WriteOutcome},
};

/// The store operation that a commit waits for. A key is the key of the session's record, unless
/// the variant says otherwise.
#[derive(Debug)]
pub(super) enum CommitStep {
    /// Choose the first operation.
    Plan,
    /// Touch the record of an unloaded session.
    Touching(StoreFuture<bool>),
    /// Destroy the session with this key, as the request asked for.
    Destroying(StoreFuture<()>, StoreKey),
    /// Create an empty record, to tag it before it holds anything.
    Creating(StoreFuture<WriteOutcome>, StoreKey),
    /// Write the record.
    Writing(StoreFuture<WriteOutcome>, StoreKey),
    /// Copy the tags of the old record to the new one. This happens before the old id dies, so that
    /// a commit that is dropped half way cannot leave an untagged record.
    CopyingTags(StoreFuture<()>, StoreKey),
    /// Replace the old record with a fence, unless another request wrote it in the meantime.
    Fencing(StoreFuture<WriteOutcome>, StoreKey),
    /// Destroy the old record, in a store that has no fences because it has no versions.
    DestroyingOld(StoreFuture<()>, StoreKey),
    /// Remove a tag from the fence (the first key), because this request removes it.
    Untagging(StoreFuture<()>, StoreKey, StoreKey),
    /// Move the remaining tags from the fence to the new record.
    MovingTags(StoreFuture<()>),
    /// Destroy the new record, because the regeneration failed.
    RollingBack(StoreFuture<()>, Rollback),
    /// Add or remove one tag of the record. `None` if there is none to wait for.
    Tagging(Option<TagChange>, StoreKey),
    /// Remove a tag that this request put on a fence. The session was regenerated in the meantime.
    UntaggingFence(StoreFuture<()>, StoreKey),
    Done,
}

/// The next step of a commit, or the error that ends it.
pub(super) type StepResult = Result<CommitStep, SessionError>;

/// The change of one tag, in flight.
#[derive(Debug)]
pub(super) enum TagChange {
    /// The result is `false` if the session has ended. Then it needs no tag.
    Add(StoreFuture<bool>),
    Remove(StoreFuture<()>),
}

impl TagChange {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        match self {
            Self::Add(add) => Pin::new(add).poll(cx).map_ok(drop),
            Self::Remove(remove) => Pin::new(remove).poll(cx),
        }
    }
}

/// The reason for rolling a regeneration back.
#[derive(Clone, Debug)]
pub(super) enum Rollback {
    /// Another request destroyed or regenerated the session.
    Lost(IdStatus),
    /// The new record could not be tagged, so its tags would not find it.
    Failed(SessionError),
    /// Other requests wrote under the old id during every attempt.
    Contention,
}
