//! The last steps of a commit that gives the session a new id. The new record is stored before
//! them.

use std::{sync::Arc, time::Instant};

use super::{
    future::Commit,
    plan::write_step,
    queue::{QueueEntry, back_off_delay},
    step::{CommitStep, MergedRecord, Rollback, StepResult},
};
use crate::{
    id::StoreKey,
    session::{
        ContentionReason, Event, SessionError, rotation,
        state::{DecodedRecord, IdStatus, Regeneration, decode},
    },
    store::{Expected, ReadOutcome, Record, StoreError, StoreFuture, WriteOutcome, WriteRequest},
};

impl Commit {
    /// Returns `true` if the commit gives the session a new id, and has not yet done so.
    pub(super) fn is_regenerating(&self) -> bool {
        self.session.state().regeneration().is_some()
    }

    /// Starts to replace the old record with a fence. Returns `Done` without a regeneration.
    pub(super) fn fence(&self, key: StoreKey) -> StepResult {
        let engine = &*self.session.engine;
        let state = self.session.state();
        let Some(Regeneration {
            from,
            version,
            grace,
            ..
        }) = state.regeneration()
        else {
            return Ok(CommitStep::Done);
        };
        let store = state.store(engine);
        if !store.capabilities().conditional_writes {
            return Ok(CommitStep::DestroyingOld(store.destroy(&from), key));
        }
        let expected = version.map_or(Expected::Absent, Expected::Version);
        let merged = self.merged.as_ref().and_then(|it| it.new.as_ref());
        let lifetime = merged.map_or(state.written_lifetime(), |new| new.lifetime);
        let id = state.id_with_key(&key);
        let (fence, ttl) = rotation::fence(engine, &from, &key, id, lifetime, grace);
        let request = WriteRequest::new(&from, fence, ttl, expected);
        Ok(CommitStep::Fencing(store.write(request), key))
    }

    pub(super) fn on_fenced(
        &mut self,
        fenced: Result<WriteOutcome, StoreError>,
        key: StoreKey,
    ) -> StepResult {
        let status = match fenced? {
            WriteOutcome::Done(_) => {
                self.on_regenerated(key)?;
                return Ok(CommitStep::Done);
            }
            WriteOutcome::Gone => IdStatus::Destroyed,
            WriteOutcome::Conflict(record) => {
                let found = self.on_old_found(record, key);
                return Ok(
                    found.unwrap_or_else(|error| self.roll_back(key, Rollback::Failed(error)))
                );
            }
        };
        Ok(self.roll_back(key, Rollback::Lost(status)))
    }

    /// Something else is stored under the old id.
    fn on_old_found(&mut self, record: Record, key: StoreKey) -> StepResult {
        let newer = decode(&self.session.engine, &record)?;
        let status = if newer.head.is_fence {
            if let Some(step) = self.follow_fence(&record, key) {
                return Ok(step);
            }
            self.old_fence_status(&record)
        } else if self.is_old_session(&newer) {
            return self.on_old_changed(record, key);
        } else {
            IdStatus::Destroyed
        };
        Ok(self.roll_back(key, Rollback::Lost(status)))
    }

    /// Returns the status of the old id, under which there is a fence.
    fn old_fence_status(&self, fence: &Record) -> IdStatus {
        let regeneration = self.session.state().regeneration();
        regeneration.map_or(IdStatus::Regenerated, |old| {
            IdStatus::from_fence(&self.session.engine, &old.from, &fence.data)
        })
    }

    /// Continues after another request has rotated the session. A rotation ends: the session has a new
    /// id already, and a visitor's parallel requests must not build a chain of fences. A regeneration, or
    /// a rotation whose new id was handed out, itself or in a CSRF token, starts from that id.
    fn follow_fence(&mut self, fence: &Record, key: StoreKey) -> Option<CommitStep> {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let Regeneration { from, grace, .. } = state.regeneration()?;
        let forward = rotation::forward(engine, &from, &fence.data)?;
        self.turn = None;
        if !grace.is_zero() && !state.is_id_issued() {
            drop(state);
            return Some(self.roll_back(key, Rollback::Rotated(Box::new(forward))));
        }
        let from = forward.id.store_key();
        state.set_old_key(from);
        let read = state.store(engine).read(&from, None);
        Some(CommitStep::Following(read, key))
    }

    pub(super) fn on_followed(
        &mut self,
        read: Result<ReadOutcome, StoreError>,
        key: StoreKey,
    ) -> CommitStep {
        let found = match read {
            Ok(ReadOutcome::Found(record)) => self.on_old_found(record, key),
            Ok(ReadOutcome::Gone | ReadOutcome::Absent) => {
                let lost = Rollback::Lost(IdStatus::Destroyed);
                return self.roll_back(key, lost);
            }
            Err(error) => Err(error.into()),
        };
        found.unwrap_or_else(|error| self.roll_back(key, Rollback::Failed(error)))
    }

    /// Returns `true` if the record under the old id is a later version of this session.
    fn is_old_session(&self, newer: &DecodedRecord) -> bool {
        let state = self.session.state();
        let old_version = state.regeneration().and_then(|old| old.version);
        state.is_continued_by(old_version, &newer.head)
    }

    /// Ends the regeneration. The old id is dead.
    fn on_regenerated(&mut self, to: StoreKey) -> Result<(), SessionError> {
        let merged = self.merged.take().and_then(|merged| merged.new);
        let mut state = self.session.state();
        let version = state.version();
        let Some(Regeneration { from, .. }) = state.take_regeneration() else {
            return Ok(());
        };
        if !self.is_final {
            // If this commit is dropped now, the response still has to set the new id.
            state.save(&self.session.engine);
        }
        drop(state);
        self.session.engine.emit(&Event::Regenerated { from, to });
        if let (Some(mut merged), Some(version)) = (merged, version) {
            merged.record.version = version;
            self.adopt(merged)?;
        }
        Ok(())
    }

    pub(super) fn on_old_destroyed(
        &mut self,
        destroyed: Result<(), StoreError>,
        key: StoreKey,
    ) -> StepResult {
        destroyed?;
        self.on_regenerated(key)?;
        Ok(CommitStep::Done)
    }

    /// Starts to destroy the new record. If the session lives on, destroys it only in the version that this commit
    /// wrote. Otherwise an administrator may have destroyed it, which ends the session.
    pub(super) fn roll_back(&self, key: StoreKey, reason: Rollback) -> CommitStep {
        let state = self.session.state();
        match (&reason, state.version()) {
            (Rollback::Rotated(_) | Rollback::Failed(_), Some(version)) => {
                drop(state);
                self.withdraw(key, Expected::Version(version), reason)
            }
            _ => {
                let destroying = state.store(&self.session.engine).destroy(&key);
                CommitStep::RollingBack(destroying, reason)
            }
        }
    }

    /// Starts to replace the new record with a fence.
    fn withdraw(&self, key: StoreKey, expected: Expected, reason: Rollback) -> CommitStep {
        let engine = &*self.session.engine;
        let fence = engine.format.fence(&key, None, None);
        let request = WriteRequest::new(&key, fence, engine.policy.fence_ttl, expected);
        let writing = self.session.state().store(engine).write(request);
        CommitStep::Withdrawing(writing, key, Box::new(reason))
    }

    pub(super) fn on_withdrawn(
        &mut self,
        withdrawn: Result<WriteOutcome, StoreError>,
        key: StoreKey,
        reason: Rollback,
    ) -> StepResult {
        let engine = Arc::clone(&self.session.engine);
        let mut state = self.session.state();
        let store = state.store(&engine);
        match withdrawn? {
            WriteOutcome::Done(_) => Ok(CommitStep::RollingBack(store.destroy(&key), reason)),
            // Without a tombstone it was evicted, and the same write succeeds where there is no record.
            WriteOutcome::Gone
                if state.version().is_some() && state.would_have_tombstone(&engine) =>
            {
                state.on_evicted();
                drop(state);
                Ok(self.withdraw(key, Expected::Absent, reason))
            }
            WriteOutcome::Conflict(record) if !decode(&engine, &record)?.head.is_fence => {
                drop(state);
                self.on_rolled_back(Ok(()), reason)
            }
            WriteOutcome::Gone | WriteOutcome::Conflict(_) => {
                drop(state);
                Ok(self.on_new_destroyed())
            }
        }
    }

    pub(super) fn on_rolled_back(
        &mut self,
        destroyed: Result<(), StoreError>,
        reason: Rollback,
    ) -> StepResult {
        destroyed?;
        match reason {
            Rollback::Lost(status) => Ok(self.drop_changes(status)),
            Rollback::Failed(error) => Err(error),
            Rollback::Rotated(forward) => {
                self.merged = None;
                let key = forward.id.store_key();
                let changes = self.take_changes();
                self.session.state().follow(forward.id, forward.lifetime);
                self.changes = Some(changes);
                self.join_with_changes(key, None)
            }
        }
    }

    /// Something else wrote the new record, although the old id is alive; or the store did not recognize its own write.
    /// The commit cannot merge an unknown change, and leaves the record. A fence is the end of the session.
    pub(super) fn on_new_changed(&self, record: &Record) -> StepResult {
        if decode(&self.session.engine, record)?.head.is_fence {
            return Ok(self.on_new_destroyed());
        }
        Err(SessionError::Contention(ContentionReason::NewRecord))
    }

    /// The new record does not exist any more. If it was evicted, writes it again. Under a tombstone, the
    /// outcome of that write is the same again: an administrator has destroyed the new record.
    pub(super) fn on_new_gone(&self, key: StoreKey) -> CommitStep {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let store = state.store(engine);
        let new = self.merged.as_ref().and_then(|merged| merged.new.as_ref());
        match new.filter(|_| state.version().is_some() && state.would_have_tombstone(engine)) {
            Some(new) => {
                let writing = store.write(new.to_request(engine, &key, Expected::Absent));
                state.on_evicted();
                CommitStep::Writing(writing, key)
            }
            None => {
                drop(state);
                self.on_new_destroyed()
            }
        }
    }

    /// An administrator has destroyed the new record before the old id was dead. Ends the session under the
    /// old id too, and where another rotation has moved it.
    fn on_new_destroyed(&self) -> CommitStep {
        let regeneration = self.session.state().regeneration();
        let Some(Regeneration { from, .. }) = regeneration else {
            return self.on_gone();
        };
        let engine = Arc::clone(&self.session.engine);
        let destroying = rotation::destroy(engine, from);
        let destroying = StoreFuture::new(async { destroying.await.map(drop) });
        CommitStep::RollingBack(destroying, Rollback::Lost(IdStatus::Destroyed))
    }

    /// Fails if the commit has retried for too long.
    pub(super) fn count_conflict(&mut self) -> Result<(), SessionError> {
        self.conflicts += 1;
        if Instant::now() < self.deadline() {
            return Ok(());
        }
        let limit = self.session.engine.policy.commit_timeout;
        Err(SessionError::Contention(ContentionReason::Timeout {
            limit,
        }))
    }

    /// Another request wrote this record under the old id. Waits for a turn, and then merges it.
    fn on_old_changed(&mut self, record: Record, key: StoreKey) -> StepResult {
        if let Err(error) = self.count_conflict() {
            return Ok(self.roll_back(key, Rollback::Failed(error)));
        }
        if self.turn.is_some() {
            // The other request belongs to another process.
            return Ok(CommitStep::BackingOff(
                back_off_delay(self.conflicts),
                record,
                key,
            ));
        }
        let regeneration = self.session.state().regeneration();
        let Some(Regeneration { from, .. }) = regeneration else {
            return Ok(CommitStep::Done);
        };
        self.merged = Some(Box::new(MergedRecord {
            new: None,
            old: record,
        }));
        let joined = self.join(from, key, self.turn_to_wait_for(), QueueEntry::First(None));
        Ok(joined.unwrap_or_else(|error| self.roll_back(key, Rollback::Failed(error))))
    }

    /// Continues when no other commit of this process writes the old record.
    pub(super) fn on_turn_to_regenerate(&mut self, key: StoreKey) -> StepResult {
        match self.merged.take() {
            Some(merged) => Ok(self.rebase_onto(&merged.old, key)),
            None => {
                let mut state = self.session.state();
                write_step(&mut state, &self.session.engine, key, self.is_final)
            }
        }
    }

    /// Writes the new record again, with the changes that another request wrote under the old id.
    pub(super) fn rebase_onto(&mut self, old: &Record, key: StoreKey) -> CommitStep {
        let changes = self.take_changes();
        let engine = &*self.session.engine;
        let merged = decode(engine, old)
            .and_then(|newest| changes.apply(engine, &newest, Some(old.version)));
        self.changes = Some(changes);
        let merged = match merged {
            Ok(merged) => merged,
            Err(error) => return self.roll_back(key, Rollback::Failed(error)),
        };
        let mut state = self.session.state();
        state.set_old_version(old.version);
        let mut new = merged.encode(engine);
        new.record.data = state.mark_pending(engine, new.record.data);
        state.set_written_lifetime(new.lifetime);
        let request = new.to_request(engine, &key, state.expected());
        let writing = state.store(engine).write(request);
        drop(state);
        self.merged = Some(Box::new(MergedRecord {
            new: Some(new),
            old: old.clone(),
        }));
        CommitStep::Writing(writing, key)
    }
}
