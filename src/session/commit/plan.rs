//! The one place that decides what there is to store, and what is left of it afterwards.

use bytes::Bytes;

use super::step::{Next, Step};
use crate::session::{
    Event, SessionError,
    engine::Engine,
    state::{Phase, State},
};
use crate::{document::Document, id::StoreKey, store::Expected};

/// What a write that is under way writes: further changes start from there.
#[derive(Debug)]
pub(in crate::session) struct PendingBase {
    record: Bytes,
    flash: Document,
}

impl State {
    /// The first step of a commit; of the `last` one, an unopened session may be due for a touch.
    pub(in crate::session) fn decide(&mut self, engine: &Engine, last: bool) -> Next {
        match self.phase {
            Phase::Unloaded if last => {
                let touch = engine
                    .policy
                    .enabled
                    .then(|| self.renewal(engine))
                    .flatten();
                return Ok(touch.map_or(Step::Done, Step::Touching));
            }
            Phase::Unloaded => return Err(SessionError::NotLoaded),
            Phase::ReadOnly | Phase::Failed | Phase::Closed => return Ok(Step::Done),
            Phase::Committing => return Err(SessionError::Committed),
            Phase::Open => self.phase = Phase::Committing,
        }
        match self.ending {
            Some(key) => Ok(Step::Destroying(self.store(engine).destroy(&key), key)),
            None => self.write_or_tag(engine, last),
        }
    }

    /// There is a record to tag before it is written, or to write before it is tagged.
    pub(in crate::session) fn write_or_tag(&mut self, engine: &Engine, last: bool) -> Next {
        if !self.needs_write() {
            // Nothing is committed, and nothing is told of it.
            self.phase = Phase::Open;
            return Ok(Step::Done);
        }
        let key = self.identity.ensure_key()?;
        if self.tags.is_empty() {
            return self.write(engine, key, last);
        }
        // The write comes last: should the session move or end meanwhile, it finds out.
        match self.version {
            Some(_) => Ok(Step::Tagging(None, key)),
            None if self.is_known_elsewhere(engine) => Ok(self.claim(engine, key)),
            None => self.write(engine, key, last),
        }
    }

    /// Whether another request can have the id under which nothing is stored yet: it could find
    /// what is written before that is tagged, and move it to another id without the tag.
    fn is_known_elsewhere(&self, engine: &Engine) -> bool {
        self.identity.carried && self.store(engine).capabilities().conditional_writes
    }

    /// Writes a record that holds nothing: only what is there can be tagged.
    fn claim(&self, engine: &Engine, key: StoreKey) -> Step {
        let nothing = Document::new();
        let record = engine.format.encode(self.created, &nothing, &nothing);
        let ttl = engine.time_to_live(self.created, engine.clock.now());
        let store = self.store(engine);
        Step::Creating(store.write(&key, record, ttl, Expected::Absent), key)
    }

    pub(in crate::session) fn write(&mut self, engine: &Engine, key: StoreKey, last: bool) -> Next {
        let now = engine.clock.now();
        let flash = self.flash.outgoing(self.version)?;
        let record = engine.format.encode(self.created, &self.data, &flash);
        if !last {
            let (record, flash) = (record.clone(), flash.into_owned());
            self.draft = Some(PendingBase { record, flash });
        }
        let expected = self.version.map_or(Expected::Absent, Expected::Version);
        let ttl = engine.time_to_live(self.created, now);
        let writing = self.store(engine).write(&key, record, ttl, expected);
        Ok(Step::Writing(writing, key))
    }

    /// All steps are done: after the `last` commit nothing can be changed, after another one changes
    /// start from what was stored.
    pub(in crate::session) fn finish(&mut self, engine: &Engine, attempts: u32, last: bool) {
        if self.phase == Phase::Committing {
            self.tell_committed(engine, attempts);
            self.patch.reset();
            self.tags.clear();
            self.flash.committed();
            if let Some(draft) = self.draft.take() {
                self.base = Some(draft.record);
                self.flash.kept = draft.flash;
            }
            self.phase = Phase::Open;
            if !last && self.version.is_some() {
                self.note_standing();
            }
        }
        if last {
            self.phase = Phase::Closed;
        }
    }

    fn tell_committed(&self, engine: &Engine, attempts: u32) {
        if engine.listeners.is_empty() || self.version.is_none() {
            return;
        }
        let Some(key) = self.identity.key() else {
            return;
        };
        if attempts > 0 {
            engine.emit(&Event::ConflictResolved { key, attempts });
        }
        engine.emit(&Event::Committed { key });
    }
}
