//! The changes of one commit, apart from the state of their request.

use bytes::Bytes;

use super::{
    SessionState,
    flash_state::{FlashChanges, flash_len},
    record::{DecodedRecord, decode_into},
    tag_state::TagChanges,
};
use crate::{
    clock::Timestamp,
    document::{Document, EditError},
    patch::{Patch, RebaseError},
    session::{ConflictReason, SessionError, SizeLimit, engine::Engine},
    store::{TooLarge, TooManyTags, Version},
    wire::{Lifetime, LifetimeChange},
};

/// The changes of a request since its last commit. A commit applies them to the newest record.
#[derive(Debug)]
pub(in crate::session) struct Changes {
    /// The record that `patch` starts from.
    base: Option<Bytes>,
    /// The lifetime of the session of `base`.
    lifetime: Lifetime,
    patch: Patch,
    flash: FlashChanges,
    tags: TagChanges,
    lifetime_change: LifetimeChange,
}

impl Changes {
    /// Returns the approximate size in bytes.
    pub(in crate::session) fn size(&self) -> usize {
        self.patch.size() + self.flash.size() + self.tags.size()
    }

    /// Returns `true` if [`apply`](Self::apply) runs functions of the user.
    pub(in crate::session) fn has_updates(&self) -> bool {
        self.patch.has_updates()
    }

    /// Returns the creation time of the stored session that the changes start from. Returns `None`
    /// if they start from nothing.
    pub(in crate::session) fn base_created(&self) -> Option<Timestamp> {
        self.base.as_ref().map(|_| self.lifetime.created)
    }

    /// Returns the record of a session that these changes create.
    pub(in crate::session) fn first_record(&self) -> DecodedRecord {
        DecodedRecord::empty(self.lifetime)
    }

    /// Returns `stored`, whose version is `version`, with all changes applied.
    ///
    /// Fails with [`Conflict`](SessionError::Conflict) if a change does not fit, and with
    /// [`TooLarge`](SessionError::TooLarge) if the session becomes too large.
    pub(in crate::session) fn apply(
        &self,
        engine: &Engine,
        stored: &DecodedRecord,
        version: Option<Version>,
    ) -> Result<DecodedRecord, SessionError> {
        let mut next = stored.clone();
        self.flash.apply(&mut next.flash, version)?;
        next.data.set_reserved(flash_len(&next.flash));
        let base = self.base_document(engine)?;
        self.patch
            .rebase(&base, &mut next.data)
            .map_err(|error| refusal(error, stored))?;
        if self.flash.has_outgoing() {
            check_size(engine, &next.data, &next.flash)?;
        }
        self.tags.apply(&mut next.tags).map_err(too_many_tags)?;
        self.lifetime_change.apply(&mut next.head.lifetime);
        Ok(next)
    }

    /// Returns the data that the patch starts from, if the patch needs it.
    fn base_document(&self, engine: &Engine) -> Result<Document, SessionError> {
        let mut data = Document::new();
        if let Some(record) = self.base.as_ref().filter(|_| self.patch.is_cleared()) {
            decode_into(engine, record, &mut data, &mut Document::new())?;
        }
        Ok(data)
    }
}

/// Fails if data and flash messages are too large together.
pub(super) fn check_size(
    engine: &Engine,
    data: &Document,
    flash: &Document,
) -> Result<(), SessionError> {
    let size = data.text().len() + flash_len(flash);
    let limit = engine.policy.limits.document;
    match size > limit {
        true => Err(SessionError::too_large(
            SizeLimit::Document,
            TooLarge::new(size, limit),
            data,
            Some(flash),
        )),
        false => Ok(()),
    }
}

/// Returns the error of a commit whose tags are too many for the newer record.
pub(super) fn too_many_tags(error: TooManyTags) -> SessionError {
    SessionError::Conflict {
        path: "tags".into(),
        reason: ConflictReason::Tags(error),
    }
}

/// Returns the error of a commit whose changes do not fit `stored`.
pub(super) fn refusal(error: RebaseError, stored: &DecodedRecord) -> SessionError {
    match error.source {
        EditError::Malformed(error) => error.into(),
        EditError::TooLarge { size, limit, .. } => SessionError::too_large(
            SizeLimit::Document,
            TooLarge::new(size, limit),
            &stored.data,
            Some(&stored.flash),
        ),
        reason => SessionError::Conflict {
            path: error.path,
            reason: ConflictReason::Edit(reason),
        },
    }
}

impl SessionState {
    /// Moves the changes since the last commit out of the state. Reads still see them.
    pub(in crate::session) fn take_changes(&mut self) -> Box<Changes> {
        self.writers.take();
        let later = Patch::new(self.patch.limits());
        Box::new(Changes {
            base: self.base.clone(),
            lifetime: self.lifetime,
            patch: std::mem::replace(&mut self.patch, later),
            flash: self.flash.take_changes(),
            tags: self.tags.take_changes(),
            lifetime_change: std::mem::take(&mut self.lifetime_change),
        })
    }

    /// Returns the approximate size in bytes of the changes that the next commit stores.
    pub(in crate::session) fn changes_size(&self) -> usize {
        let pending = self.pending_base.as_ref();
        let taken = pending.and_then(|base| base.changes.as_ref());
        let own = || self.patch.size() + self.flash.outgoing_len() + self.tags.changes_size();
        taken.map_or_else(own, |changes| changes.size())
    }

    /// Returns the changes that the last [`encode`](Self::encode) moved out of the state.
    pub(in crate::session) fn take_pending_changes(&mut self) -> Option<Box<Changes>> {
        self.pending_base.as_mut()?.changes.take()
    }

    /// Puts changes that were not stored back, before those made since. The record of the commit that
    /// failed is no longer pending.
    pub(in crate::session) fn restore_changes(
        &mut self,
        changes: Changes,
    ) -> Result<(), SessionError> {
        self.writers.restore();
        self.pending_base = None;
        let later = std::mem::replace(&mut self.patch, changes.patch);
        self.patch.append(later);
        self.tags.restore_changes(changes.tags);
        let later = std::mem::replace(&mut self.lifetime_change, changes.lifetime_change);
        self.lifetime_change.append(later);
        self.flash.restore_changes(changes.flash)
    }
}
