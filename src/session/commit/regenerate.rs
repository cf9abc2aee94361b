//! A session that moves to another id: the last steps of a commit, once the new record stands.

use super::step::{Next, Rollback, Step};
use crate::session::{
    Event, SessionError,
    commit::Commit,
    state::{DecodedRecord, IdStatus, Regeneration, decode},
};
use crate::{
    id::StoreKey,
    store::{Expected, Record, StoreError, WriteOutcome},
};

impl Commit {
    pub(in crate::session) fn fence(&mut self, key: StoreKey) -> Next {
        let engine = &*self.session.engine;
        let state = self.session.state();
        let Some(Regeneration { from, version }) = state.moving else {
            return Ok(Step::Done);
        };
        let store = state.store(engine);
        if !store.capabilities().conditional_writes {
            return Ok(Step::DestroyingOld(store.destroy(&from), key));
        }
        let expected = version.map_or(Expected::Absent, Expected::Version);
        let fence = engine.format.fence();
        let fencing = store.write(&from, fence, engine.policy.fence_ttl, expected);
        Ok(Step::Fencing(fencing, key))
    }

    pub(in crate::session) fn fenced(
        &mut self,
        fenced: Result<WriteOutcome, StoreError>,
        key: StoreKey,
    ) -> Next {
        let engine = &*self.session.engine;
        let fate = match fenced? {
            WriteOutcome::Done(_) => {
                self.tagged = 0;
                let moved = self.moved(key);
                return Ok(moved.map_or(Step::Done, |from| self.move_tags(from, key)));
            }
            WriteOutcome::Gone => IdStatus::Destroyed,
            WriteOutcome::Conflict(record) => {
                let newer = decode(engine, &record.data)?;
                if !newer.head.is_fence {
                    return self.catch_up(record, newer, key);
                }
                IdStatus::Regenerated
            }
        };
        Ok(self.discard(key, Rollback::Lost(fate)))
    }

    /// The old id is dead: the session has moved.
    fn moved(&self, to: StoreKey) -> Option<StoreKey> {
        let mut state = self.session.state();
        let Regeneration { from, .. } = state.moving.take()?;
        if !self.last {
            // Who gives this commit up now still has to hear of the new id.
            state.note_standing();
        }
        drop(state);
        self.session.engine.emit(&Event::Regenerated { from, to });
        Some(from)
    }

    pub(in crate::session) fn buried(&self, key: StoreKey) -> Step {
        self.moved(key);
        Step::Done
    }

    pub(in crate::session) fn discard(&self, key: StoreKey, why: Rollback) -> Step {
        let state = self.session.state();
        Step::RollingBack(state.store(&self.session.engine).destroy(&key), why)
    }

    pub(in crate::session) fn retreat(&mut self, why: Rollback) -> Next {
        match why {
            Rollback::Lost(fate) => Ok(self.drop_changes(fate)),
            Rollback::Failed(error) => Err(error),
            Rollback::Contention => Err(SessionError::Contention {
                attempts: self.attempts,
            }),
        }
    }

    /// Another request wrote under the old id while the session moved: its changes move along.
    fn catch_up(&mut self, record: Record, newer: DecodedRecord, key: StoreKey) -> Next {
        let engine = &*self.session.engine;
        self.attempts += 1;
        if self.attempts >= engine.policy.max_attempts {
            return Ok(self.discard(key, Rollback::Contention));
        }
        let mut state = self.session.state();
        state.rebase(engine, newer)?;
        if let Some(moving) = &mut state.moving {
            moving.version = Some(record.version);
        }
        state.write(engine, key, self.last)
    }

    /// The tags that came since they were copied follow. Those that this request took off go from the
    /// fence first, or they would come back.
    fn move_tags(&mut self, from: StoreKey, key: StoreKey) -> Step {
        let state = self.session.state();
        let Some(tags) = state.store(&self.session.engine).tags() else {
            return Step::Done;
        };
        for (tag, add) in state.tags.iter().skip(self.tagged) {
            self.tagged += 1;
            if !add {
                return Step::Untagging(tags.untag(&from, tag), from, key);
            }
        }
        Step::MovingTags(tags.move_tags(&from, &key))
    }

    pub(in crate::session) fn untagged(
        &mut self,
        untagged: Result<(), StoreError>,
        from: StoreKey,
        key: StoreKey,
    ) -> Step {
        match untagged {
            Ok(()) => self.move_tags(from, key),
            Err(error) => self.moved_tags(Err(error)),
        }
    }

    /// The session has moved, whatever became of the tags that are left on its fence.
    pub(in crate::session) fn moved_tags(&self, moved: Result<(), StoreError>) -> Step {
        if let Err(error) = moved {
            drop(self.session.engine.report(error.into()));
        }
        Step::Done
    }
}
