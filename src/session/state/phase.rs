//! Plain data of the state: its phase, the status of the request's id, and pending work.

use std::time::Duration;

use bytes::Bytes;

use super::changes::Changes;
use crate::{
    clock::Timestamp,
    document::Document,
    id::StoreKey,
    session::{ReadOnlyReason, engine::Engine},
    store::Version,
    wire::Lifetime,
};

/// The progress of a request with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum Phase {
    #[default]
    Unloaded,
    /// Loaded for reading and writing.
    Open,
    /// Loaded for reading.
    ReadOnly(ReadOnlyReason),
    /// The load failed.
    Failed,
    /// An explicit commit is running. Changes belong to the next commit.
    Committing,
    /// An explicit commit was dropped before its end, or failed. Its changes may be stored or not.
    Abandoned,
    /// The final commit is running.
    Closing,
    /// The response has been produced.
    Closed,
    /// The response has been produced. The session was not loaded then.
    ClosedUnloaded,
    /// The response has been produced. Changes were dropped, or may not be stored.
    Unstored,
}

/// The status of the id that the request carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum IdStatus {
    /// The session's id, or the request carried none.
    #[default]
    Alive,
    /// The store has nothing under the id that can be read.
    Expired,
    /// This request destroyed the session.
    Ended,
    /// Another request destroyed the session.
    Destroyed,
    /// Another request gave the session a new id.
    Regenerated,
}

impl IdStatus {
    /// Returns the status of an id whose record this fence has replaced, if the fence does not forward. `key` is the
    /// key of the id. The end of a session stores a fence that names no new id.
    pub(in crate::session) fn from_fence(engine: &Engine, key: &StoreKey, fence: &[u8]) -> Self {
        match engine.format.fence_names(fence, key) {
            Some(_) => Self::Regenerated,
            None => Self::Destroyed,
        }
    }

    /// Returns `true` if another request ended the session under the id. Its response may have set a
    /// newer cookie, which this response must not replace without need.
    pub(in crate::session) const fn is_lost(self) -> bool {
        matches!(self, Self::Destroyed | Self::Regenerated)
    }
}

/// A new id that the next commit gives to the session.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Regeneration {
    /// The key of the old id.
    pub(in crate::session) from: StoreKey,
    /// The version that was read under the old key.
    pub(in crate::session) version: Option<Version>,
    /// The time for which the old id forwards to the new one. Zero unless the id is rotated.
    pub(in crate::session) grace: Duration,
    /// The time at which the last write of the new record began.
    pub(in crate::session) begun: Timestamp,
    /// The time at which the last write that succeeded began.
    pub(in crate::session) written: Timestamp,
}

/// The record of an in-flight commit that is not final. Later changes start from it.
#[derive(Debug)]
pub(super) struct PendingBase {
    pub(super) record: Bytes,
    pub(super) flash: Document,
    pub(super) lifetime: Lifetime,
    /// The changes in the record, until the commit takes them.
    pub(super) changes: Option<Box<Changes>>,
}
