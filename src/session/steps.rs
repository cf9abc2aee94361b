//! The steps of a commit.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::state::Fate;
use crate::{
    document::Document,
    id::Key,
    store::{StoreError, StoreFuture, Written},
};

/// What the write that is under way writes.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) flash: Document,
    /// Kept only where further changes can follow: they start from it.
    pub(super) record: Option<Bytes>,
    pub(super) keep: bool,
    /// It stands in the store.
    pub(super) written: bool,
}

/// What a commit is waiting for.
#[derive(Debug)]
pub(super) enum Step {
    /// Look at the state and decide.
    Decide,
    Touching(StoreFuture<bool>),
    /// The session that this request ended goes.
    Ending(StoreFuture<()>, Key),
    Writing(StoreFuture<Written>, Key),
    /// The new record stands; its tags follow.
    MovingTags(StoreFuture<()>, Key),
    /// The old record becomes a fence, unless somebody wrote there meanwhile.
    Fencing(StoreFuture<Written>, Key),
    /// The move is given up, so the tags go back.
    ReturningTags(StoreFuture<()>, Key, Retreat),
    /// The move is given up: the new record has to go.
    Discarding(StoreFuture<()>, Retreat),
    Tagging(Option<Tagging>, Key),
    Done,
}

/// A tag on its way.
#[derive(Debug)]
pub(super) enum Tagging {
    /// A session that ended meanwhile is not there to be tagged, and need not be.
    Add(StoreFuture<bool>),
    Remove(StoreFuture<()>),
}

impl Tagging {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        match self {
            Self::Add(add) => Pin::new(add).poll(cx).map_ok(drop),
            Self::Remove(remove) => Pin::new(remove).poll(cx),
        }
    }
}

/// Why a move is given up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retreat {
    /// The session ended or moved elsewhere while it moved here.
    Lost(Fate),
    /// Other requests wrote under the old id faster than this one could follow.
    Outrun,
}
