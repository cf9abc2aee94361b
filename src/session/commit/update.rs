//! The steps of a commit whose changes run functions of the user, after a conflict.
//!
//! The worker of a queue never runs such functions: one that blocks or panics would harm other requests.
//! So the commit waits for a turn, in which no other commit of this process writes the session. It reads
//! the record, applies its changes on the request's own task, and writes.

use super::{
    future::Commit,
    queue::back_off_delay,
    step::{CommitStep, StepResult},
};
use crate::{
    id::StoreKey,
    session::{
        rotation,
        state::{DecodedRecord, IdStatus, StoredRecord, decode},
    },
    store::{Expected, ReadOutcome, Record, StoreError, Version, WriteOutcome},
};

impl Commit {
    /// Continues when no other commit of this process writes the session.
    pub(super) fn on_turn(&mut self, key: StoreKey) -> StepResult {
        let state = self.session.state();
        if state.regeneration().is_some() {
            drop(state);
            return self.on_turn_to_regenerate(key);
        }
        let read = state.store(&self.session.engine).read(&key, None);
        Ok(CommitStep::Reading(read, key))
    }

    /// Continues after another process has written the record.
    pub(super) fn on_backed_off(&mut self, record: &Record, key: StoreKey) -> StepResult {
        match self.is_regenerating() {
            true => Ok(self.rebase_onto(record, key)),
            false => self.update_record(record, key),
        }
    }

    pub(super) fn on_read(
        &mut self,
        read: Result<ReadOutcome, StoreError>,
        key: StoreKey,
    ) -> StepResult {
        match read? {
            ReadOutcome::Found(record) => self.update_record(&record, key),
            ReadOutcome::Gone => Ok(self.drop_changes(IdStatus::Destroyed)),
            ReadOutcome::Absent => {
                let changes = self.take_changes();
                let first = changes.first_record();
                let is_over = changes.base_created().is_some();
                self.changes = Some(changes);
                match is_over {
                    true => Ok(self.drop_changes(IdStatus::Destroyed)),
                    false => self.write_updated(&first, None, key),
                }
            }
        }
    }

    /// Applies the changes to a record of the session, and writes it.
    fn update_record(&mut self, record: &Record, key: StoreKey) -> StepResult {
        let engine = &self.session.engine;
        let newest = decode(engine, record)?;
        if newest.head.is_fence {
            let Some(forward) = rotation::forward(engine, &key, &record.data) else {
                let status = IdStatus::from_fence(engine, &key, &record.data);
                return Ok(self.drop_changes(status));
            };
            let changes = self.take_changes();
            return self.follow(forward.id, changes);
        }
        let changes = self.take_changes();
        let created = changes.base_created();
        self.changes = Some(changes);
        if created.is_some_and(|created| created != newest.head.lifetime.created) {
            return Ok(self.drop_changes(IdStatus::Destroyed));
        }
        self.write_updated(&newest, Some(record.version), key)
    }

    fn write_updated(
        &mut self,
        newest: &DecodedRecord,
        version: Option<Version>,
        key: StoreKey,
    ) -> StepResult {
        let engine = &*self.session.engine;
        let Some(changes) = &self.changes else {
            return Ok(CommitStep::Done);
        };
        let stored = changes.apply(engine, newest, version)?.encode(engine);
        let expected = version.map_or(Expected::Absent, Expected::Version);
        let request = stored.to_request(engine, &key, expected);
        let writing = self.session.state().store(engine).write(request);
        Ok(CommitStep::Updating(writing, Box::new(stored), key))
    }

    pub(super) fn on_updated(
        &mut self,
        written: Result<WriteOutcome, StoreError>,
        mut stored: StoredRecord,
        key: StoreKey,
    ) -> StepResult {
        match written? {
            WriteOutcome::Done(version) => {
                stored.record.version = version;
                self.adopt(stored)?;
                Ok(CommitStep::Done)
            }
            WriteOutcome::Conflict(record) => {
                self.count_conflict()?;
                let delay = back_off_delay(self.conflicts);
                Ok(CommitStep::BackingOff(delay, record, key))
            }
            WriteOutcome::Gone => Ok(self.drop_changes(IdStatus::Destroyed)),
        }
    }
}
