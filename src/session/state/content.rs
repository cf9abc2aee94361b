//! The content of a session, as handlers read and change it.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{FlashPart, IdStatus, Phase, Regeneration, SessionState, flash_state::flash_len};
use crate::{
    clock::Timestamp,
    document::Document,
    id::EntropyError,
    patch::Patch,
    session::{SessionError, engine::Engine, pending_ids::PendingId},
    store::{Tag, TooManyTags},
    wire::{Lifetime, LifetimeChange},
};

impl SessionState {
    /// Returns the session's data, without flash messages.
    pub(in crate::session) fn data(&self) -> &Document {
        &self.data
    }

    /// Returns the patch and the data to change through it.
    pub(in crate::session) fn patch_and_data(&mut self) -> (&mut Patch, &mut Document) {
        self.data.set_reserved(self.flash.outgoing_len());
        (&mut self.patch, &mut self.data)
    }

    /// Returns `true` if there is a change to commit.
    pub(in crate::session) fn is_modified(&self) -> bool {
        !self.patch.is_empty() || self.flash.is_modified() || !self.lifetime_change.is_empty()
    }

    /// Adds or removes a tag.
    pub(in crate::session) fn change_tag(
        &mut self,
        tag: Tag,
        add: bool,
    ) -> Result<(), TooManyTags> {
        self.tags.change(tag, add)
    }

    /// Changes the session's own timeout.
    pub(in crate::session) fn change_lifetime(&mut self, change: LifetimeChange) {
        change.apply(&mut self.lifetime);
        self.lifetime_change.append(change);
    }

    /// Returns when the session was created.
    pub(in crate::session) fn created_at(&self) -> Timestamp {
        self.lifetime.created
    }

    /// Returns the time of the session's last renewal or write, as far as this request and this process
    /// know.
    pub(in crate::session) fn last_seen(&self, engine: &Engine) -> Timestamp {
        let created = self.lifetime.created;
        created.max(self.identity.last_renewal(engine))
    }

    /// Returns when the session expires, with the changes of this request.
    pub(in crate::session) fn expires_at(&self, engine: &Engine) -> Timestamp {
        let seen = match self.lifetime_change.is_empty() {
            true => self.last_seen(engine),
            // The commit writes the session, which begins its timeout again.
            false => engine.clock.now(),
        };
        engine.expires_at(&self.lifetime, seen)
    }

    /// Returns the flash messages of this request.
    pub(in crate::session) fn incoming_flash(&self) -> &Document {
        self.flash.incoming()
    }

    /// Returns a part of the flash messages for the next request. Data and messages have one limit.
    pub(in crate::session) fn outgoing_flash(
        &mut self,
        engine: &Engine,
        part: FlashPart,
    ) -> &mut Document {
        let others = self.flash.outgoing_len() + self.data.text().len();
        let part = self.flash.outgoing_mut(part);
        part.set_limit(engine.policy.limits.document);
        part.set_reserved(others - flash_len(part));
        part
    }

    /// Keeps the flash messages of this request for the next request too, within the limit.
    pub(in crate::session) fn keep_incoming_flash(
        &mut self,
        engine: &Engine,
    ) -> Result<(), SessionError> {
        let used = self.data.text().len() + self.flash.outgoing_len();
        let limit = engine.policy.limits.document;
        self.flash.keep_incoming(limit.saturating_sub(used))
    }

    pub(in crate::session) fn set_form_input(&mut self, input: Arc<Value>) {
        self.form_input = Some(input);
    }

    pub(in crate::session) fn form_input(&self) -> Option<&Arc<Value>> {
        self.form_input.as_ref()
    }

    /// Gives the session a new id. The next commit moves the record to it. Afterwards the old id forwards
    /// to the new one for the time `grace`.
    pub(in crate::session) fn regenerate(
        &mut self,
        engine: &Arc<Engine>,
        grace: Duration,
    ) -> Result<(), EntropyError> {
        self.changed = true;
        let was_sent = self.identity.is_from_request() || self.version.is_some();
        self.same_visitor |= self.identity.is_from_request();
        let old = self.identity.replace_id(!grace.is_zero())?;
        self.regenerated = true;
        match &mut self.regeneration {
            // A second new id replaces the first one.
            Some(first) => first.grace = first.grace.min(grace),
            // An id that was never sent needs no fence.
            None => {
                self.regeneration = old.filter(|_| was_sent).map(|from| Regeneration {
                    from,
                    version: self.version.take(),
                    grace,
                    begun: Timestamp::default(),
                    written: Timestamp::default(),
                });
            }
        }
        self.pending_id = match (self.regeneration, self.identity.key()) {
            (Some(old), Some(new)) => Some(PendingId::new(engine, old.from, new)),
            _ => None,
        };
        Ok(())
    }

    /// Destroys the session, loaded or not. Later changes begin a new session.
    pub(in crate::session) fn destroy(&mut self, engine: &Engine) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::Unloaded | Phase::Failed) && engine.policy.enabled {
            self.resolve_id(engine);
            self.phase = Phase::Open;
            self.accessed = true;
            self.patch.set_limits(engine.policy.limits);
        }
        self.check_id_changeable()?;
        self.changed = true;
        // An explicit commit may have confirmed a new id.
        let was_stored = self.version.is_some() || self.identity.is_confirmed();
        let was_sent = self.identity.is_from_request() || was_stored;
        let old = self.identity.discard_id();
        let key = match self.regeneration {
            Some(regeneration) => Some(regeneration.from),
            None => old.filter(|_| was_sent),
        };
        if key.is_some() {
            self.key_to_destroy = key;
        }
        if key.is_some() || self.identity.was_carried() {
            self.id_status = IdStatus::Ended;
        }
        self.same_visitor = false;
        self.clear_content();
        // Discarded changes would have been destroyed too.
        self.writers.forget_changes();
        self.lifetime = Lifetime::from_creation(engine.clock.now());
        Ok(())
    }
}
