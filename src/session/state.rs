//! What one request knows of its session.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{
    Event, SessionError, backing::Visitor, decide::Draft, engine::Engine, flash::Flash,
    identity::Identity, standing::Standing,
};
use crate::{
    clock::Timestamp,
    document::Document,
    id::StoreKey,
    patch::Patch,
    store::{Record, Tag, Version},
    wire::{Head, Unreadable},
};

/// A state that held more than this is not kept: one large session must not cost memory for good.
const KEPT_BYTES: usize = 64 * 1024;

/// How far a request has got with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has opened it.
    #[default]
    Untouched,
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
pub(super) enum Fate {
    /// It is the session's id, or there was none.
    #[default]
    Alive,
    /// It was dead before this request opened it.
    Dead,
    /// Its session was ended while this request ran, by this request or by another.
    Ended,
    /// Its session moved to another id that this request does not know.
    Moved,
}

/// A session that is about to move: its old key, and the version that was read there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) from: StoreKey,
    pub(super) version: Option<Version>,
}

/// The state behind the handle. One lock guards it, and no lock is held across an await.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) identity: Identity,
    pub(super) visitor: Visitor,
    pub(super) fate: Fate,
    pub(super) created: Timestamp,
    /// The version under the current key; `None` where nothing is stored there.
    pub(super) version: Option<Version>,
    /// The record that `patch` starts from, to re-apply it on a newer one.
    pub(super) base: Option<Bytes>,
    /// `base` with `patch` applied: what reads see.
    pub(super) data: Document,
    pub(super) patch: Patch,
    pub(super) flash: Flash,
    /// What a commit that changes can follow is writing.
    pub(super) draft: Option<Draft>,
    pub(super) moving: Option<Move>,
    /// A key whose session this request ends.
    pub(super) ending: Option<StoreKey>,
    /// Tags to add (`true`) or take off, in order.
    pub(super) tags: Vec<(Tag, bool)>,
    pub(super) regenerated: bool,
    /// What was stored before the commit that is under way, if anything was.
    pub(super) standing: Option<Box<Standing>>,
    /// It was the id of the request's own, living cookie that was regenerated.
    pub(super) continued: bool,
    /// The form input of this request, to flash it.
    pub(super) input: Option<Arc<Value>>,
    /// The handler asked for anything of the session, so the response may depend on it.
    pub(super) accessed: bool,
}

impl State {
    /// Whether the buffers are small enough to be kept for another request.
    pub(super) fn is_small(&self) -> bool {
        self.data.text().len().max(self.patch.size()) <= KEPT_BYTES
    }

    /// Makes the state as new, keeping the buffers it has grown.
    pub(super) fn reset(&mut self) {
        self.identity.reset();
        self.visitor.reset();
        // A session that nobody asked for has none.
        if self.accessed {
            self.forget_contents();
        }
        self.phase = Phase::Untouched;
        self.input = None;
        self.regenerated = false;
        self.standing = None;
        self.continued = false;
        self.accessed = false;
        self.fate = Fate::Alive;
        self.ending = None;
    }

    /// Drops everything that belongs to the session rather than to the request.
    pub(super) fn forget_contents(&mut self) {
        self.version = None;
        self.base = None;
        self.draft = None;
        self.moving = None;
        self.tags.clear();
        self.data.reset();
        self.patch.reset();
        self.flash.reset();
    }

    pub(super) fn readable(&self) -> Result<&Self, SessionError> {
        match self.phase {
            Phase::Untouched | Phase::Failed => Err(SessionError::NotLoaded),
            _ => Ok(self),
        }
    }

    pub(super) fn writable(&mut self) -> Result<&mut Self, SessionError> {
        match self.phase {
            Phase::Open => Ok(self),
            Phase::ReadOnly => Err(SessionError::ReadOnly),
            Phase::Untouched | Phase::Failed => Err(SessionError::NotLoaded),
            Phase::Committing | Phase::Closed => Err(SessionError::Committed),
        }
    }

    /// Takes a record over as the session's contents, which [`decode_into`] has put in place.
    pub(super) fn adopt(
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
    pub(super) fn is_modified(&self) -> bool {
        !self.patch.is_empty() || self.flash.is_modified()
    }

    /// Whether a record must be written: nothing is, only to say that there is nothing.
    pub(super) fn needs_write(&self) -> bool {
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
    pub(super) fn rebase(&mut self, engine: &Engine, newer: Contents) -> Result<(), SessionError> {
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
            engine.tell(&Event::WriteDropped { key, reason });
        }
        Ok(())
    }
}

/// What a record holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) head: Head,
    pub(super) data: Document,
    pub(super) flash: Document,
}

/// Reads a record, as the session's own kind of error.
pub(super) fn decode(engine: &Engine, record: &Bytes) -> Result<Contents, SessionError> {
    let (mut data, mut flash) = (Document::new(), Document::new());
    let head = decode_into(engine, record, &mut data, &mut flash)?;
    Ok(Contents { head, data, flash })
}

/// Reads a record into documents that are there already, which keep their buffers.
pub(super) fn decode_into(
    engine: &Engine,
    record: &Bytes,
    data: &mut Document,
    flash: &mut Document,
) -> Result<Head, SessionError> {
    let head = engine.format.decode(record, data, flash);
    head.map_err(|unreadable| {
        SessionError::Record(match unreadable {
            Unreadable::Newer(_) => "it was written by a newer release",
            Unreadable::Damaged => "it is damaged or not ours",
        })
    })
}
