//! Writing the state to the store.

use std::time::Duration;

use bytes::Bytes;

use super::{IdStatus, PendingBase, Phase, Regeneration, SessionState, StoredRecord};
use crate::{
    id::{SessionId, StoreKey},
    session::{SessionError, SizeLimit, engine::Engine},
    store::{Expected, Tags, TooLarge, Version},
    wire::{Lifetime, LifetimeChange, PendingMark, RecordHead},
};

/// A tombstone lives longer than this after the last check for it: time for a store operation, and for clocks that
/// differ.
const TOMBSTONE_MARGIN: Duration = Duration::from_secs(10);

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
        self.pending_id = None;
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

    /// Returns `true` if a session that is not [modified](Self::is_modified) is open, and its commit would have no
    /// step.
    #[inline]
    pub(in crate::session) fn is_settled(&self) -> bool {
        let is_open = self.phase == Phase::Open && self.conflict.is_none() && !self.has_discards();
        let is_tagged = self.tags.is_modified(self.version.is_some());
        let is_writing = self.regeneration.is_some() || is_tagged;
        is_open && self.key_to_destroy.is_none() && !is_writing
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
        let spare = self.spare.take();
        let format = &engine.format;
        if is_final && let Some(flash) = self.flash.unchanged() {
            return Ok(format.encode(&self.lifetime, &self.data, flash, spare));
        }
        let flash = self.flash.to_stored(self.replaced_version())?;
        let record = format.encode(&self.lifetime, &self.data, &flash, spare);
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

    /// Adds a pending mark to the record to write, if the session gets a new id.
    pub(in crate::session) fn mark_pending(&mut self, engine: &Engine, record: Bytes) -> Bytes {
        let is_conditional =
            self.regeneration.is_some() && self.store(engine).capabilities().conditional_writes;
        let Some(old) = self.regeneration.as_mut().filter(|_| is_conditional) else {
            return record;
        };
        old.begun = engine.clock.now();
        let mark = PendingMark {
            from: old.from,
            written: old.begun,
        };
        engine.format.mark_pending(&record, &mark)
    }

    /// Returns `true` if the new record would have a tombstone if something had destroyed it since it was written, and
    /// still has it when the next operation of the store ends.
    pub(in crate::session) fn would_have_tombstone(&self, engine: &Engine) -> bool {
        let capabilities = self.store(engine).capabilities();
        let now = engine.clock.now();
        let is_kept = |old: Regeneration, ttl: Duration| {
            let end = old
                .written
                .saturating_add(ttl.saturating_sub(TOMBSTONE_MARGIN));
            (old.written..end).contains(&now)
        };
        let ttl = capabilities
            .tombstone_ttl
            .filter(|_| capabilities.tombstones);
        self.regeneration
            .zip(ttl)
            .is_some_and(|(old, ttl)| is_kept(old, ttl))
    }

    /// Returns the tags to write.
    pub(in crate::session) fn tags(&self) -> Tags {
        self.tags.current().clone()
    }

    /// Returns how long the record may live from now on.
    pub(in crate::session) fn record_ttl(&self, engine: &Engine) -> Duration {
        engine.record_ttl_from_now(&self.lifetime)
    }

    /// Returns the error for a session over the store's limit. It names the largest keys.
    pub(in crate::session) fn too_large(&self, limit: TooLarge) -> SessionError {
        let flash = self.flash.to_stored(self.replaced_version()).ok();
        SessionError::too_large(SizeLimit::Store, limit, &self.data, flash.as_deref())
    }
}

/// Results of a commit's steps.
impl SessionState {
    /// Records the version of the record that was stored under the current key.
    pub(in crate::session) fn on_stored(&mut self, engine: &Engine, version: Version) {
        self.version = Some(version);
        if let Some(regeneration) = &mut self.regeneration {
            regeneration.written = regeneration.begun;
        }
        self.set_cookie_lifetime(engine, self.written_lifetime(), true);
        self.identity.confirm();
    }

    /// Keeps the buffer of the record that the final commit has replaced, if nothing else uses it.
    pub(in crate::session) fn keep_replaced_record(&mut self) {
        let replaced = self.base.take().map(Bytes::try_into_mut);
        if let Some(Ok(mut buffer)) = replaced {
            buffer.clear();
            // If the record was a part of a buffer, the capacity then is that of the whole.
            let _ = buffer.try_reclaim(buffer.capacity() + 1);
            self.spare = Some(buffer);
        }
    }

    /// Records that the record under the current key does not exist any more.
    pub(in crate::session) fn on_evicted(&mut self) {
        self.version = None;
    }

    /// Adopts the new id that another request gave to the session.
    pub(in crate::session) fn follow(&mut self, id: SessionId, lifetime: Lifetime) {
        self.take_regeneration();
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

    /// Returns the error of changes that no commit can store. The data lacks changes of other requests that are
    /// stored.
    pub(in crate::session) fn conflict(&self) -> Option<&SessionError> {
        self.conflict.as_ref()
    }

    /// Closes a session that was destroyed or regenerated by another request. Commits of other tasks fail after the
    /// response.
    pub(in crate::session) fn on_lost(&mut self, status: IdStatus) {
        self.id_status = status;
        self.version = None;
        self.phase = match self.phase {
            Phase::Closing | Phase::Unstored => Phase::Unstored,
            _ => Phase::Closed,
        };
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
        if is_final {
            self.phase = Phase::Closed;
            return;
        }
        self.phase = Phase::Open;
        self.writers.on_stored();
        if self.version.is_some() {
            self.save(engine);
        }
    }
}
