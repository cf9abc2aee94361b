//! Writing the state to the store.

use std::time::Duration;

use bytes::Bytes;

use super::{IdStatus, PendingBase, Phase, Regeneration, SessionState, StoredRecord};
use crate::{
    clock::Timestamp,
    id::{SessionId, StoreKey},
    session::{SessionError, engine::Engine},
    store::{Expected, Tags, TooLarge, Version},
    wire::{Lifetime, LifetimeChange, RecordHead},
};

/// The record to write.
impl SessionState {
    pub(in crate::session) fn version(&self) -> Option<Version> {
        self.version
    }

    /// Returns the lifetime that the running commit stores. Later changes belong to the next commit.
    pub(in crate::session) fn written_lifetime(&self) -> Lifetime {
        self.pending_base
            .as_ref()
            .map_or(self.lifetime, |pending| pending.lifetime)
    }

    /// Sets the lifetime that the running commit stores: its changes applied to a newer record.
    pub(in crate::session) fn set_written_lifetime(&mut self, lifetime: Lifetime) {
        self.lifetime = lifetime;
        if let Some(pending) = &mut self.pending_base {
            pending.lifetime = lifetime;
            self.lifetime_change.apply(&mut self.lifetime);
        }
    }

    /// Returns the record that a write of the current key replaces.
    pub(in crate::session) fn expected(&self) -> Expected {
        self.version.map_or(Expected::Absent, Expected::Version)
    }

    pub(in crate::session) fn regeneration(&self) -> Option<Regeneration> {
        self.regeneration
    }

    pub(in crate::session) fn take_regeneration(&mut self) -> Option<Regeneration> {
        self.regeneration.take()
    }

    /// Makes the regeneration start from the id that replaced the old one meanwhile.
    pub(in crate::session) fn set_old_key(&mut self, from: StoreKey) {
        if let Some(regeneration) = &mut self.regeneration {
            regeneration.from = from;
        }
    }

    /// Sets the version of the record under the old id.
    pub(in crate::session) fn set_old_version(&mut self, version: Version) {
        if let Some(regeneration) = &mut self.regeneration {
            regeneration.version = Some(version);
        }
    }

    /// Returns `true` if a record must be written. An empty session writes no first record, unless it has
    /// a timeout of its own.
    pub(in crate::session) fn needs_write(&self) -> bool {
        let tagged = self.tags.is_modified(self.version.is_some());
        let modified = match self.version {
            Some(_) => self.is_modified(),
            None => {
                let has_content = !self.data.is_empty() || !self.flash.is_outgoing_empty();
                self.is_modified() && (has_content || self.lifetime.is_customized())
            }
        };
        self.regeneration.is_some() || tagged || modified
    }

    /// Returns `true` if the session is open and its commit would have no step.
    pub(in crate::session) fn is_settled(&self) -> bool {
        let is_open = self.phase == Phase::Open && self.conflict.is_none();
        is_open && self.key_to_destroy.is_none() && !self.needs_write()
    }

    /// Returns the version that the write replaces, under the old id if the session gets a new one.
    fn replaced_version(&self) -> Option<Version> {
        let old = self.regeneration.and_then(|old| old.version);
        self.version.or(old)
    }

    /// Encodes the record to write. Unless the commit is final, later changes start from it: they
    /// belong to the next commit.
    pub(in crate::session) fn encode(
        &mut self,
        engine: &Engine,
        is_final: bool,
    ) -> Result<Bytes, SessionError> {
        let flash = self.flash.to_stored(self.replaced_version())?;
        let record = engine.format.encode(&self.lifetime, &self.data, &flash);
        if !is_final {
            let flash = flash.into_owned();
            self.pending_base = Some(PendingBase {
                record: record.clone(),
                flash,
                lifetime: self.lifetime,
                changes: Some(self.take_changes()),
            });
        }
        Ok(record)
    }

    /// Returns the tags to write.
    pub(in crate::session) fn tags(&self) -> Tags {
        self.tags.current().clone()
    }

    /// Returns how long the record may live from `now`.
    pub(in crate::session) fn record_ttl(&self, engine: &Engine, now: Timestamp) -> Duration {
        engine.record_ttl(&self.lifetime, now)
    }

    /// Returns the error for a session over the store's limit. It names the largest keys.
    pub(in crate::session) fn too_large(&self, limit: TooLarge) -> SessionError {
        let flash = self.flash.to_stored(self.replaced_version()).ok();
        SessionError::too_large(limit, &self.data, flash.as_deref())
    }
}

/// Results of a commit's steps.
impl SessionState {
    /// Records the version of the record that was stored under the current key.
    pub(in crate::session) fn on_stored(&mut self, engine: &Engine, version: Version) {
        self.version = Some(version);
        self.set_cookie_lifetime(engine, self.written_lifetime(), true);
        self.identity.confirm();
    }

    /// Adopts the new id that another request gave to the session.
    pub(in crate::session) fn follow(&mut self, id: SessionId, lifetime: Lifetime) {
        self.regeneration = None;
        self.identity.follow(id, lifetime);
    }

    /// Records that the store destroyed the session under [`key_to_destroy`](Self::key_to_destroy).
    pub(in crate::session) fn on_destroyed(&mut self, engine: &Engine) {
        self.key_to_destroy = None;
        if self.id_status == IdStatus::Ended {
            self.save(engine);
        }
    }

    /// Returns `true` if `newer` is a later version of the session that has `version`. It may also be
    /// another session that began under the id after this one ended. Parallel requests that store
    /// the first record of an id have one session.
    pub(in crate::session) fn is_continued_by(
        &self,
        version: Option<Version>,
        newer: &RecordHead,
    ) -> bool {
        version.is_none() || newer.lifetime.created == self.lifetime.created
    }

    /// Takes the lifetime and the version of the record that a commit stored after it merged its changes
    /// with those of other requests.
    pub(in crate::session) fn on_adopted(&mut self, engine: &Engine, stored: &StoredRecord) {
        self.set_written_lifetime(stored.lifetime);
        self.on_stored(engine, stored.record.version);
    }

    /// Returns the error of changes that the next commit cannot store.
    pub(in crate::session) fn take_conflict(&mut self) -> Option<SessionError> {
        self.conflict.take()
    }

    /// Forgets the content after a conflict, so that the session can be loaded again.
    pub(in crate::session) fn unload(&mut self) {
        self.clear_content();
        self.phase = Phase::Unloaded;
    }

    /// Closes a session that was destroyed or regenerated by another request.
    pub(in crate::session) fn on_lost(&mut self, status: IdStatus) {
        self.id_status = status;
        self.version = None;
        self.phase = Phase::Closed;
        if self.regeneration.is_some() {
            // The new id is dead as well.
            self.identity.discard_id();
        }
    }

    /// Ends a commit whose steps are done. Later changes start from the stored record.
    pub(in crate::session) fn on_committed(&mut self, engine: &Engine, is_final: bool) {
        if is_final {
            self.patch.reset();
            self.lifetime_change = LifetimeChange::default();
            self.flash.on_committed();
        }
        if let Some(pending) = self.pending_base.take() {
            self.base = Some(pending.record);
            self.flash.set_deferred(pending.flash);
        }
        self.phase = Phase::Open;
        if !is_final && self.version.is_some() {
            self.save(engine);
        }
    }
}
