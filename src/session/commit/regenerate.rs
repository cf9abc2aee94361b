//! The last steps of a commit that gives the session a new id. The new record is stored before
//! them.

use super::{
    future::Commit,
    step::{CommitStep, Rollback, StepResult},
};
use crate::{
    id::StoreKey,
    session::{
        Event, SessionError,
        state::{DecodedRecord, IdStatus, Regeneration, decode},
    },
    store::{Expected, Record, StoreError, WriteOutcome},
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
        let fencing = store.write(&from, fence, engine.policy.fence_ttl, expected);
        Ok(CommitStep::Fencing(fencing, key))
    }

    pub(super) fn on_fenced(
        &mut self,
        fenced: Result<WriteOutcome, StoreError>,
        key: StoreKey,
    ) -> StepResult {
        let engine = &*self.session.engine;
        let status = match fenced? {
            WriteOutcome::Done(_) => {
                self.tags_done = 0;
                let from = self.on_regenerated(key);
                return Ok(from.map_or(CommitStep::Done, |from| self.move_tags(from, key)));
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

    /// Ends the regeneration. The old id is dead. Returns its key.
    fn on_regenerated(&self, to: StoreKey) -> Option<StoreKey> {
        let mut state = self.session.state();
        let Regeneration { from, .. } = state.take_regeneration()?;
        if !self.is_final {
            // If this commit is dropped now, the response still has to set the new id.
            state.save();
        }
        drop(state);
        self.session.engine.emit(&Event::Regenerated { from, to });
        Some(from)
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
            Rollback::Failed(error) => Err(error),
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
        state.rebase(engine, newer)?;
        state.set_old_version(record.version);
        drop(state);
        self.write(key)
    }

    /// Moves the tags that were added to the old record after they were copied. Before that, it
    /// removes from the fence the tags that this request removes, so that they are not moved.
    fn move_tags(&mut self, from: StoreKey, key: StoreKey) -> CommitStep {
        let state = self.session.state();
        let Some(tags) = state.store(&self.session.engine).tags() else {
            return CommitStep::Done;
        };
        for (tag, add) in state.tags().iter().skip(self.tags_done) {
            self.tags_done += 1;
            if !add {
                return CommitStep::Untagging(tags.untag(&from, tag), from, key);
            }
        }
        CommitStep::MovingTags(tags.move_tags(&from, &key))
    }

    pub(super) fn on_untagged(
        &mut self,
        untagged: Result<(), StoreError>,
        from: StoreKey,
        key: StoreKey,
    ) -> CommitStep {
        match untagged {
            Ok(()) => self.move_tags(from, key),
            Err(error) => self.on_tags_moved(Err(error)),
        }
    }

    /// Ends the commit. The session is regenerated even if tags were left on the fence.
    pub(super) fn on_tags_moved(&self, moved: Result<(), StoreError>) -> CommitStep {
        if let Err(error) = moved {
            drop(self.session.engine.report(error.into()));
        }
        CommitStep::Done
    }
}
