//! What one request knows of its session.

mod backend;
mod flash_state;
mod identity;
mod savepoint;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

pub(crate) use self::backend::Backend;
pub(in crate::session) use self::flash_state::OutgoingFlash;
use self::{
    backend::StoreHandle, flash_state::FlashState, identity::Identity, savepoint::Savepoint,
};
use crate::session::{Event, SessionError, commit::PendingBase, engine::Engine};
use crate::{
    clock::Timestamp,
    document::Document,
    id::StoreKey,
    patch::Patch,
    store::{Record, Tag, Version},
    wire::{DecodeError, RecordHead},
};

/// A state that held more than this is not kept: one large session must not cost memory for good.
const KEPT_BYTES: usize = 64 * 1024;

/// How far a request has got with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum Phase {
    /// Nobody has opened it.
    #[default]
    Unloaded,
    /// Open for reading and writing.
    Open,
    /// Open for reading.
    ReadOnly,
    /// It could not be opened.
    Failed,
    /// A commit is under way, or was abandoned half way: what the store holds is not known.
    Committing,
    /// The response took its leave.
    Closed,
}

/// What became of the id that the request carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum IdStatus {
    /// It is the session's id, or there was none.
    #[default]
    Alive,
    /// It was dead before this request opened it.
    Stale,
    /// Its session was ended while this request ran, by this request or by another.
    Destroyed,
    /// Its session moved to another id that this request does not know.
    Regenerated,
}

/// A session that is about to move: its old key, and the version that was read there.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Regeneration {
    pub(in crate::session) from: StoreKey,
    pub(in crate::session) version: Option<Version>,
}

/// The state behind the handle. One lock guards it, and no lock is held across an await.
#[derive(Debug, Default)]
pub(in crate::session) struct State {
    pub(in crate::session) phase: Phase,
    pub(in crate::session) identity: Identity,
    pub(in crate::session) visitor: StoreHandle,
    pub(in crate::session) fate: IdStatus,
    pub(in crate::session) created: Timestamp,
    /// The version under the current key; `None` where nothing is stored there.
    pub(in crate::session) version: Option<Version>,
    /// The record that `patch` starts from, to re-apply it on a newer one.
    pub(in crate::session) base: Option<Bytes>,
    /// `base` with `patch` applied: what reads see.
    pub(in crate::session) data: Document,
    pub(in crate::session) patch: Patch,
    pub(in crate::session) flash: FlashState,
    /// What a commit that changes can follow is writing.
    pub(in crate::session) draft: Option<PendingBase>,
    pub(in crate::session) moving: Option<Regeneration>,
    /// A key whose session this request ends.
    pub(in crate::session) ending: Option<StoreKey>,
    /// Tags to add (`true`) or take off, in order.
    pub(in crate::session) tags: Vec<(Tag, bool)>,
    pub(in crate::session) regenerated: bool,
    /// What was stored before the commit that is under way, if anything was.
    pub(in crate::session) standing: Option<Box<Savepoint>>,
    /// It was the id of the request's own, living cookie that was regenerated.
    pub(in crate::session) continued: bool,
    /// The form input of this request, to flash it.
    pub(in crate::session) input: Option<Arc<Value>>,
    /// The handler asked for anything of the session, so the response may depend on it.
    pub(in crate::session) accessed: bool,
}

impl State {
    /// Whether the buffers are small enough to be kept for another request.
    pub(in crate::session) fn is_small(&self) -> bool {
        self.data.text().len().max(self.patch.size()) <= KEPT_BYTES
    }

    /// Makes the state as new, keeping the buffers it has grown.
    pub(in crate::session) fn reset(&mut self) {
        self.identity.reset();
        self.visitor.reset();
        // A session that nobody asked for has none.
        if self.accessed {
            self.forget_contents();
        }
        self.phase = Phase::Unloaded;
        self.input = None;
        self.regenerated = false;
        self.standing = None;
        self.continued = false;
        self.accessed = false;
        self.fate = IdStatus::Alive;
        self.ending = None;
    }

    /// Drops everything that belongs to the session rather than to the request.
    pub(in crate::session) fn forget_contents(&mut self) {
        self.version = None;
        self.base = None;
        self.draft = None;
        self.moving = None;
        self.tags.clear();
        self.data.reset();
        self.patch.reset();
        self.flash.reset();
    }

    pub(in crate::session) fn readable(&self) -> Result<&Self, SessionError> {
        match self.phase {
            Phase::Unloaded | Phase::Failed => Err(SessionError::NotLoaded),
            _ => Ok(self),
        }
    }

    pub(in crate::session) fn writable(&mut self) -> Result<&mut Self, SessionError> {
        match self.phase {
            Phase::Open => Ok(self),
            Phase::ReadOnly => Err(SessionError::ReadOnly),
            Phase::Unloaded | Phase::Failed => Err(SessionError::NotLoaded),
            Phase::Committing | Phase::Closed => Err(SessionError::Committed),
        }
    }

    /// Takes a record over as the session's contents, which [`decode_into`] has put in place.
    pub(in crate::session) fn adopt(
        &mut self,
        record: Record,
        created: Timestamp,
        read_only: bool,
    ) -> Result<(), SessionError> {
        self.version = Some(record.version);
        self.base = Some(record.data);
        self.created = created;
        self.flash.arrive(read_only)
    }

    /// Whether this request changed anything that a record holds.
    pub(in crate::session) fn is_modified(&self) -> bool {
        !self.patch.is_empty() || self.flash.is_modified()
    }

    /// Whether a record must be written: nothing is, only to say that there is nothing.
    pub(in crate::session) fn needs_write(&self) -> bool {
        // Tags alone ask for a write as well: only a write finds out that the session has gone.
        let tagged = match self.version {
            Some(_) => !self.tags.is_empty(),
            None => self.tags.iter().any(|(_, add)| *add),
        };
        let modified = match self.version {
            Some(_) => self.is_modified(),
            None => {
                let holds = !self.data.is_empty() || !self.flash.outgoing_is_empty();
                self.is_modified() && holds
            }
        };
        self.moving.is_some() || tagged || modified
    }

    /// Re-applies this request's changes on `newer`, which another request wrote.
    pub(in crate::session) fn rebase(
        &mut self,
        engine: &Engine,
        newer: DecodedRecord,
    ) -> Result<(), SessionError> {
        let base = match &self.base {
            Some(record) => decode(engine, record)?.data,
            None => Document::new(),
        };
        self.data = newer.data;
        let rebased = self.patch.rebase(&base, &mut self.data)?;
        self.created = newer.head.created;
        self.flash.rebase(newer.flash)?;
        if let (Some(_), Some(key)) = (rebased.dropped.first(), self.identity.key()) {
            let reason = "an operation no longer fits what another request wrote";
            engine.emit(&Event::WriteDropped { key, reason });
        }
        Ok(())
    }
}

/// What a record holds.
#[derive(Debug)]
pub(in crate::session) struct DecodedRecord {
    pub(in crate::session) head: RecordHead,
    pub(in crate::session) data: Document,
    pub(in crate::session) flash: Document,
}

/// Reads a record, as the session's own kind of error.
pub(in crate::session) fn decode(
    engine: &Engine,
    record: &Bytes,
) -> Result<DecodedRecord, SessionError> {
    let (mut data, mut flash) = (Document::new(), Document::new());
    let head = decode_into(engine, record, &mut data, &mut flash)?;
    Ok(DecodedRecord { head, data, flash })
}

/// Reads a record into documents that are there already, which keep their buffers.
pub(in crate::session) fn decode_into(
    engine: &Engine,
    record: &Bytes,
    data: &mut Document,
    flash: &mut Document,
) -> Result<RecordHead, SessionError> {
    let head = engine.format.decode(record, data, flash);
    head.map_err(|unreadable| {
        SessionError::Record(match unreadable {
            DecodeError::UnsupportedVersion(_) => "it was written by a newer release",
            DecodeError::Damaged => "it is damaged or not ours",
        })
    })
}
