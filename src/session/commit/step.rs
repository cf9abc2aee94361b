//! The steps of a commit.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use crate::session::{SessionError, state::IdStatus};
use crate::{
    id::StoreKey,
    store::{StoreError, StoreFuture, WriteOutcome},
};

/// What a commit is waiting for.
#[derive(Debug)]
pub(in crate::session) enum Step {
    /// Look at the state and decide.
    Decide,
    Touching(StoreFuture<bool>),
    /// The session that this request ended goes.
    Destroying(StoreFuture<()>, StoreKey),
    /// A record that holds nothing yet, so that it can be tagged before it does.
    Creating(StoreFuture<WriteOutcome>, StoreKey),
    Writing(StoreFuture<WriteOutcome>, StoreKey),
    /// The new record stands; it gets the tags too, before the old one may go: whoever stops half
    /// way is still found by them.
    CopyingTags(StoreFuture<()>, StoreKey),
    /// The old record becomes a fence, unless somebody wrote there meanwhile.
    Fencing(StoreFuture<WriteOutcome>, StoreKey),
    /// A store that knows no versions has no fence: the old record goes.
    DestroyingOld(StoreFuture<()>, StoreKey),
    /// What this request took off goes from the fence (the first key) as well.
    Untagging(StoreFuture<()>, StoreKey, StoreKey),
    /// The fence needs no tags; those that came since the copy are taken along.
    MovingTags(StoreFuture<()>),
    /// The move is given up: the new record has to go.
    RollingBack(StoreFuture<()>, Rollback),
    Tagging(Option<TagChange>, StoreKey),
    /// The session moved on: tags that were put on its fence come off again.
    UntaggingFence(StoreFuture<()>, StoreKey),
    Done,
}

/// The next step, or why there is none.
pub(in crate::session) type Next = Result<Step, SessionError>;

/// A tag on its way.
#[derive(Debug)]
pub(in crate::session) enum TagChange {
    /// A session that ended meanwhile is not there to be tagged, and need not be.
    Add(StoreFuture<bool>),
    Remove(StoreFuture<()>),
}

impl TagChange {
    pub(in crate::session) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StoreError>> {
        match self {
            Self::Add(add) => Pin::new(add).poll(cx).map_ok(drop),
            Self::Remove(remove) => Pin::new(remove).poll(cx),
        }
    }
}

/// Why a move is given up.
#[derive(Clone, Debug)]
pub(in crate::session) enum Rollback {
    /// The session ended or moved elsewhere while it moved here.
    Lost(IdStatus),
    /// The new record could not be tagged: nobody would find it.
    Failed(SessionError),
    /// Other requests wrote under the old id faster than this one could follow.
    Contention,
}
