//! The changes that a handler made while an explicit commit ran, on the record which that stored.

use bytes::Bytes;

use super::{
    DecodedRecord, PendingBase, SessionState,
    changes::{check_size, refusal, too_many_tags},
    decode,
    flash_state::flash_len,
    record::decode_into,
};
use crate::{
    document::Document,
    patch::Patch,
    session::{SessionError, engine::Engine},
    store::Record,
};

/// A copy of the changes since an explicit commit began, and the record that the commit stored with
/// changes of other requests.
pub(in crate::session) struct LaterEdits {
    stored: Bytes,
    merged: DecodedRecord,
    /// The record of the explicit commit alone.
    own: Option<Bytes>,
    patch: Patch,
}

impl LaterEdits {
    /// Returns the data of the stored record with the changes applied. Functions of the user may run, so
    /// the state must not be locked.
    pub(in crate::session) fn rebase(&self, engine: &Engine) -> Result<Document, SessionError> {
        let mut seen = Document::new();
        if let Some(own) = self.own.as_ref().filter(|_| self.patch.is_cleared()) {
            // A clear removes what this request has seen. Other requests may have written more.
            decode_into(engine, own, &mut seen, &mut Document::new())?;
        }
        let mut data = self.merged.data.clone();
        data.set_reserved(flash_len(&self.merged.flash));
        let rebased = self.patch.rebase(&seen, &mut data);
        rebased.map_err(|error| refusal(error, &self.merged))?;
        Ok(data)
    }
}

impl SessionState {
    /// Returns the changes since the explicit commit began that stored `record`.
    pub(in crate::session) fn later_edits(
        &mut self,
        engine: &Engine,
        record: Record,
    ) -> Result<LaterEdits, SessionError> {
        Ok(LaterEdits {
            merged: decode(engine, &record)?,
            stored: record.data,
            own: self.pending_base.take().map(|own| own.record),
            patch: self.patch.clone(),
        })
    }

    /// Continues with `rebased`, the result of [`LaterEdits::rebase`]. If another task has made more
    /// changes meanwhile, adds them to `later` and returns `false`.
    pub(in crate::session) fn install(
        &mut self,
        engine: &Engine,
        later: &mut LaterEdits,
        rebased: Result<Document, SessionError>,
    ) -> bool {
        if !self.patch.has_same_operations(&later.patch) {
            later.patch = self.patch.clone();
            return false;
        }
        let tagged = self.tags.set_stored(later.merged.tags.clone());
        let fitting = rebased.and_then(|data| {
            tagged.map_err(too_many_tags)?;
            self.check_later_size(engine, &data, &later.merged.flash)?;
            Ok(data)
        });
        match fitting {
            Ok(data) => self.data = data,
            Err(error) => self.conflict = Some(error),
        }
        let own = later.own.take().filter(|_| self.patch.is_cleared());
        self.pending_base = Some(PendingBase {
            record: own.unwrap_or_else(|| later.stored.clone()),
            flash: later.merged.flash.clone(),
            lifetime: later.merged.head.lifetime,
            changes: None,
        });
        true
    }

    /// Fails if `data`, the messages `stored` and those that were flashed since are too large together.
    fn check_later_size(
        &self,
        engine: &Engine,
        data: &Document,
        stored: &Document,
    ) -> Result<(), SessionError> {
        if !self.flash.has_outgoing() {
            return Ok(());
        }
        let flash = self.flash.overlaid(stored, None)?;
        check_size(engine, data, &flash)
    }
}
