//! The last steps of a commit that gives the session a new id. The new record is stored before
//! them.

use super::{
    future::Commit,
    plan::write_step,
    step::{CommitStep, Rollback, StepResult},
};
use crate::{
    id::StoreKey,
    session::{
        Event, SessionError,
        state::{DecodedRecord, IdStatus, Regeneration, decode},
    },
    store::{Expected, Record, StoreError, WriteOutcome, WriteRequest},
};

impl Commit {
    /// Starts to replace the old record with a fence. Returns `Done` without a regeneration.
    pub(super) fn fence(&self, key: StoreKey) -> StepResult {
        let engine = &*self.session.engine;
        let state = self.session.state();
        let Some(Regeneration { from, version }) = state.regeneration() else {
            return Ok(CommitStep::Done);
        };
        let store = state.store(engine);
        if !store.capabilities().conditional_writes {
            return Ok(CommitStep::DestroyingOld(store.destroy(&from), key));
        }
        let expected = version.map_or(Expected::Absent, Expected::Version);
        let fence = engine.format.fence();
        let request = WriteRequest::new(&from, fence, engine.policy.fence_ttl, expected);
        Ok(CommitStep::Fencing(store.write(request), key))
    }

    pub(super) fn on_fenced(
        &mut self,
        fenced: Result<WriteOutcome, StoreError>,
        key: StoreKey,
    ) -> StepResult {
        let engine = &*self.session.engine;
        let status = match fenced? {
            WriteOutcome::Done(_) => {
                self.on_regenerated(key);
                return Ok(CommitStep::Done);
            }
            WriteOutcome::Gone => IdStatus::Destroyed,
            WriteOutcome::Conflict(record) => {
                let newer = decode(engine, &record.data)?;
                if newer.head.is_fence {
                    IdStatus::Regenerated
                } else if self.is_old_session(&newer) {
                    return self.rebase_onto(record, newer, key);
                } else {
                    IdStatus::Destroyed
                }
            }
        };
        Ok(self.roll_back(key, Rollback::Lost(status)))
    }

    /// Returns `true` if the record under the old id is a later version of this session.
    fn is_old_session(&self, newer: &DecodedRecord) -> bool {
        let state = self.session.state();
        let old_version = state.regeneration().and_then(|old| old.version);
        state.is_continued_by(old_version, &newer.head)
    }

    /// Ends the regeneration. The old id is dead.
    fn on_regenerated(&self, to: StoreKey) {
        let mut state = self.session.state();
        let Some(Regeneration { from, .. }) = state.take_regeneration() else {
            return;
        };
        if !self.is_final {
            // If this commit is dropped now, the response still has to set the new id.
            state.save();
        }
        drop(state);
        self.session.engine.emit(&Event::Regenerated { from, to });
    }

    pub(super) fn on_old_destroyed(
        &self,
        destroyed: Result<(), StoreError>,
        key: StoreKey,
    ) -> StepResult {
        destroyed?;
        self.on_regenerated(key);
        Ok(CommitStep::Done)
    }

    /// Starts to destroy the new record.
    pub(super) fn roll_back(&self, key: StoreKey, reason: Rollback) -> CommitStep {
        let state = self.session.state();
        CommitStep::RollingBack(state.store(&self.session.engine).destroy(&key), reason)
    }

    pub(super) fn on_rolled_back(
        &self,
        destroyed: Result<(), StoreError>,
        reason: Rollback,
    ) -> StepResult {
        destroyed?;
        match reason {
            Rollback::Lost(status) => Ok(self.drop_changes(status)),
            Rollback::Contention => Err(SessionError::Contention {
                attempts: self.attempts,
            }),
        }
    }

    /// Writes the new record again, with the changes that another request wrote under the old id.
    fn rebase_onto(&mut self, record: Record, newer: DecodedRecord, key: StoreKey) -> StepResult {
        let engine = &*self.session.engine;
        self.attempts += 1;
        if self.attempts >= engine.policy.max_attempts {
            return Ok(self.roll_back(key, Rollback::Contention));
        }
        let mut state = self.session.state();
        state.rebase(engine, newer, record.tags)?;
        state.set_old_version(record.version);
        write_step(&mut state, engine, key, self.is_final)
    }
}
