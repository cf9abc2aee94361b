//! The steps of a commit.

use futures_timer::Delay;

use super::{queue::Ticket, touch::Renewal};
use crate::{
    id::StoreKey,
    session::{
        SessionError,
        state::{IdStatus, StoredRecord},
    },
    store::{ReadOutcome, Record, StoreFuture, WriteOutcome},
    wire::Forward,
};

/// The step that a commit waits for, usually a store operation. A key is the key of the session's record.
#[derive(Debug)]
pub(super) enum CommitStep {
    /// Choose the first operation.
    Plan,
    /// Fail, because the changes of the final commit cannot be stored.
    Failing(Box<SessionError>),
    /// Renew an unloaded session.
    Touching(Renewal),
    /// Destroy the session with this key, as the request asked for. Results in `true` if its event was not yet emitted.
    Destroying(StoreFuture<bool>, StoreKey),
    /// Join the queue of the session, which exists already.
    Joining(StoreKey),
    /// Write the record.
    Writing(StoreFuture<WriteOutcome>, StoreKey),
    /// Wait in a queue: the one of this session, or the one of the old id if it gets a new one.
    Waiting(Ticket, StoreKey),
    /// Replace the old record with a fence, unless another request wrote it in the meantime.
    Fencing(StoreFuture<WriteOutcome>, StoreKey),
    /// Read the record of the new id that the old id has got meanwhile, to fence that record.
    Following(StoreFuture<ReadOutcome>, StoreKey),
    /// Wait before the old record is fenced again, or the record is written again. Another process has
    /// written this record.
    BackingOff(Delay, Record, StoreKey),
    /// Read the record, in a turn, to apply changes to it that run functions of the user.
    Reading(StoreFuture<ReadOutcome>, StoreKey),
    /// Write the record with those changes, in a turn.
    Updating(StoreFuture<WriteOutcome>, Box<StoredRecord>, StoreKey),
    /// Destroy the old record, in a store that has no fences because it has no versions.
    DestroyingOld(StoreFuture<()>, StoreKey),
    /// Replace the new record with a fence before it is destroyed, if nothing else has written or destroyed it.
    Withdrawing(StoreFuture<WriteOutcome>, StoreKey, Box<Rollback>),
    /// Destroy the new record, because the regeneration failed.
    RollingBack(StoreFuture<()>, Rollback),
    Done,
}

/// The next step of a commit, or the error that ends it.
pub(super) type StepResult = Result<CommitStep, SessionError>;

/// The reason for rolling a regeneration back.
#[derive(Clone, Debug)]
pub(super) enum Rollback {
    /// Another request destroyed or regenerated the session.
    Lost(IdStatus),
    /// Another request rotated the session first, so this rotation is not needed.
    Rotated(Box<Forward>),
    /// The changes could not be stored.
    Failed(SessionError),
}

/// A new record that contains changes which other requests made under the old id, and the newest
/// record under the old id.
#[derive(Debug)]
pub(super) struct MergedRecord {
    pub(super) new: Option<StoredRecord>,
    pub(super) old: Record,
}
