//! Plain data of the state: its phase, the status of the request's id, and pending work.

use bytes::Bytes;

use crate::{document::Document, id::StoreKey, store::Version};

/// The progress of a request with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum Phase {
    #[default]
    Unloaded,
    /// Loaded for reading and writing.
    Open,
    /// Loaded for reading.
    ReadOnly,
    /// The load failed.
    Failed,
    /// A commit is running, or was dropped before its end. The store's contents are unknown.
    Committing,
    /// The response has been produced.
    Closed,
}

/// The status of the id that the request carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum IdStatus {
    /// The session's id, or the request carried none.
    #[default]
    Alive,
    /// The id was dead before this request loaded the session.
    Stale,
    /// This request or another one destroyed the session during this request.
    Destroyed,
    /// Another request gave the session a new id.
    Regenerated,
}

/// A new id that the next commit gives to the session.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Regeneration {
    /// The key of the old id.
    pub(in crate::session) from: StoreKey,
    /// The version that was read under the old key.
    pub(in crate::session) version: Option<Version>,
}

/// The record of an in-flight commit that is not final. Later changes start from it.
#[derive(Debug)]
pub(super) struct PendingBase {
    pub(super) record: Bytes,
    pub(super) flash: Document,
}
