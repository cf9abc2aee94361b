//! The state behind a session handle.
//!
//! The methods of [`SessionState`] are in four files: this one (phase, id, store, savepoint),
//! `content` (for handlers), `storage` (for loads and renewals) and `writing` (for commits).

mod candidates;
mod changes;
mod content;
mod flash_state;
mod identity;
mod later_edits;
mod phase;
mod record;
mod savepoint;
mod storage;
mod tag_state;
mod writers;
mod writing;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header::COOKIE};
use serde_json::Value;

#[cfg(feature = "testing")]
pub(in crate::session) use self::flash_state::write_messages;
pub(in crate::session) use self::{
    changes::Changes,
    flash_state::FlashPart,
    phase::{IdStatus, Phase, Regeneration},
    record::{DecodedRecord, StoredRecord, decode},
    storage::{LoadMode, Lookup, PendingRead},
    writers::WriterId,
};
use self::{
    flash_state::FlashState, identity::Identity, phase::PendingBase, savepoint::Savepoint,
    tag_state::TagState, writers::Writers,
};
use super::{
    Event, ReadOnlyReason, SessionError,
    backend::StoreHandle,
    engine::Engine,
    events::{QueuedEvent, QueuedEvents},
    pending_ids::PendingId,
    visibility::{is_prefetch, is_purpose},
};
use crate::{
    csrf_secret::CsrfSecret,
    document::Document,
    id::{EntropyError, SessionId, StoreKey},
    patch::Patch,
    store::{SetCookies, Store, Version},
    wire::{Lifetime, LifetimeChange},
};

/// Maximum size of the buffers of a state that is reused, so that one large session does not hold its
/// memory forever.
const MAX_POOLED_BYTES: usize = 256 * 1024;

/// The state of one request's session. One lock guards it, and no lock is held across an await.
#[derive(Debug, Default)]
pub(super) struct SessionState {
    phase: Phase,
    identity: Identity,
    store_handle: StoreHandle,
    id_status: IdStatus,
    lifetime: Lifetime,
    /// The change of `lifetime` that the next commit stores. `lifetime` includes it.
    lifetime_change: LifetimeChange,
    /// The version of the record under the current key, if there is a record.
    version: Option<Version>,
    /// The record that `patch` starts from, to apply the patch to a newer record.
    base: Option<Bytes>,
    /// The buffer of a record that an earlier request replaced, for the next one to write.
    spare: Option<BytesMut>,
    /// `base` with `patch` applied. Reads use it.
    data: Document,
    patch: Patch,
    flash: FlashState,
    pending_base: Option<PendingBase>,
    regeneration: Option<Regeneration>,
    pending_id: Option<PendingId>,
    /// The key of a session that the next commit destroys.
    key_to_destroy: Option<StoreKey>,
    tags: TagState,
    /// This request called `regenerate` or `rotate_id`.
    regenerated: bool,
    savepoint: Option<Box<Savepoint>>,
    /// Changes made during an explicit commit do not fit what that commit stored. Every later commit fails with
    /// this error, until the session is unloaded.
    conflict: Option<SessionError>,
    /// The handles that have changed the session.
    writers: Writers,
    /// How often a refused commit has unloaded the session.
    unloads: u32,
    /// The error of the load that failed, in the phase `Failed` until the response takes it. Boxed, to keep
    /// the state small.
    load_error: Option<Box<SessionError>>,
    /// The id that `regenerate` replaced was alive and came with the request.
    same_visitor: bool,
    form_input: Option<Arc<Value>>,
    /// The handler used the session, so the response may depend on it.
    accessed: bool,
    /// The request changed the session, or handed out a new id or a CSRF token of it.
    changed: bool,
    /// No visitor sees the response, so the flash messages stay for the next request.
    invisible: bool,
    /// This request has begun a touch of the record under the id.
    renews: bool,
    events: QueuedEvents,
}

/// The life of a state.
impl SessionState {
    /// Copies the request's session cookies, and records if no visitor sees the response. Decrypts
    /// nothing.
    pub(super) fn read_request(&mut self, engine: &Engine, method: &Method, headers: &HeaderMap) {
        self.invisible = method == Method::HEAD;
        // For a usual number of headers, one pass is faster than a lookup of each name.
        for (name, value) in headers {
            if *name == COOKIE {
                self.identity.collect_cookies(engine, value);
                self.store_handle.collect_cookies(&engine.backend, value);
            } else if is_purpose(name) {
                self.invisible |= is_prefetch(value);
            }
        }
    }

    /// [Resets](Self::reset) the state if its buffers are small enough to be reused. Returns `false` if not.
    #[inline]
    pub(super) fn reset_if_small(&mut self) -> bool {
        let is_small = !self.accessed || self.is_small();
        if is_small {
            self.reset();
        }
        is_small
    }

    fn is_small(&mut self) -> bool {
        let changes = self.patch.capacity() + self.flash.capacity() + self.tags.capacity();
        let bytes = self.data.capacity() + changes;
        let spare = self.spare.as_ref().map_or(0, BytesMut::capacity);
        if bytes + spare <= MAX_POOLED_BYTES {
            return true;
        }
        self.spare = None;
        bytes <= MAX_POOLED_BYTES
    }

    /// Resets everything except the capacity of the buffers.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.store_handle.reset();
        self.phase = Phase::Unloaded;
        self.form_input = None;
        // If the handler did not use the session, its content was not set. If there is no id either, nothing else
        // was set.
        if self.accessed || !self.identity.is_unused() {
            self.reset_used();
        } else {
            self.identity.drop_texts();
        }
    }

    #[inline(never)]
    fn reset_used(&mut self) {
        self.identity.reset();
        if self.accessed {
            self.clear_content();
            self.writers.reset();
        }
        self.regenerated = false;
        self.savepoint = None;
        self.same_visitor = false;
        self.accessed = false;
        self.changed = false;
        self.renews = false;
        self.id_status = IdStatus::Alive;
        self.key_to_destroy = None;
    }

    /// Resets everything that belongs to the session, not to the request.
    fn clear_content(&mut self) {
        self.version = None;
        self.base = None;
        self.pending_base = None;
        self.conflict = None;
        self.load_error = None;
        self.regeneration = None;
        self.pending_id = None;
        self.lifetime_change = LifetimeChange::default();
        self.tags.reset();
        self.data.reset();
        self.patch.reset();
        self.flash.reset();
    }
}

/// The phase.
impl SessionState {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Takes the error of a load that failed, unless `destroy` was called after it.
    pub(super) fn take_load_error(&mut self) -> Option<Box<SessionError>> {
        self.load_error.take()
    }

    pub(super) fn is_accessed(&self) -> bool {
        self.accessed
    }

    /// Notes that the request changes the session.
    pub(super) fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// Returns `true` if the request changed the session, or handed out a new id or a CSRF token.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Returns the error of the load that failed.
    fn failure(&self) -> SessionError {
        let error = self.load_error.as_deref().cloned();
        error.unwrap_or(SessionError::NotLoaded)
    }

    /// Fails if the session is not loaded.
    pub(super) fn readable(&self) -> Result<&Self, SessionError> {
        match self.phase {
            Phase::Unloaded | Phase::ClosedUnloaded => Err(SessionError::NotLoaded),
            Phase::Failed => Err(self.failure()),
            _ => Ok(self),
        }
    }

    /// Begins a change by a handle.
    #[inline]
    pub(super) fn begin_change(&mut self, writer: &WriterId) -> Result<(), SessionError> {
        self.check_change(writer)?;
        self.writers.note_change(writer);
        Ok(())
    }

    /// Fails if the session cannot be changed, or if a refused commit has discarded former changes of the handle,
    /// which was not reported to it.
    #[inline]
    pub(super) fn check_change(&mut self, writer: &WriterId) -> Result<(), SessionError> {
        self.check_discards(writer)?;
        self.check_writable()
    }

    #[inline]
    fn check_writable(&self) -> Result<(), SessionError> {
        match self.phase {
            Phase::Open | Phase::Committing => Ok(()),
            _ => Err(self.refusal()),
        }
    }

    /// Returns the reason why the session cannot be changed.
    #[cold]
    fn refusal(&self) -> SessionError {
        match self.phase {
            Phase::ReadOnly(reason) => SessionError::ReadOnly(reason),
            Phase::Unloaded => SessionError::NotLoaded,
            Phase::Failed => self.failure(),
            _ => SessionError::Committed,
        }
    }

    /// Begins a change of the id by a handle.
    pub(super) fn begin_id_change(&mut self, writer: &WriterId) -> Result<(), SessionError> {
        self.check_id_changeable()?;
        self.begin_change(writer)
    }

    /// Fails if the session cannot get a new id or be destroyed. An explicit commit that is running
    /// must end first, since it stores the session under its present id.
    fn check_id_changeable(&self) -> Result<(), SessionError> {
        match self.phase {
            Phase::Committing => Err(SessionError::Committed),
            _ => self.check_writable(),
        }
    }

    /// Makes a session that was loaded for reading writable, if `mode` needs it.
    pub(super) fn upgrade(&mut self, mode: LoadMode) {
        let is_upgrade = self.phase == Phase::ReadOnly(ReadOnlyReason::LoadedReadOnly);
        if is_upgrade && mode == LoadMode::Write {
            self.phase = Phase::Open;
            if !self.invisible {
                self.flash.consume_incoming();
            }
        }
    }

    /// Starts the final commit of an open session.
    pub(super) fn begin_final_commit(&mut self) {
        self.phase = Phase::Closing;
    }

    /// Ends a commit that has nothing to store. After an explicit commit, the session can be changed and committed
    /// again.
    pub(super) fn end_unchanged(&mut self) {
        match self.phase {
            Phase::Committing => {
                self.phase = Phase::Open;
                self.writers.on_stored();
            }
            Phase::Closing => self.phase = Phase::Closed,
            _ => {}
        }
    }

    /// Ends an explicit commit that stored nothing. The session can be changed and committed again. Returns `false` if
    /// the request has ended.
    pub(super) fn reopen(&mut self) -> bool {
        let is_committing = self.phase == Phase::Committing;
        if is_committing {
            self.phase = Phase::Open;
        }
        is_committing
    }

    /// Ends an explicit commit whose outcome is unknown. The session cannot be committed any more.
    pub(super) fn abandon_commit(&mut self) {
        if self.phase == Phase::Committing {
            self.phase = Phase::Abandoned;
        }
    }

    /// Ends the request. The session cannot be changed any more.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Ends a request whose session is not loaded. Later commits of other tasks fail, because a refused commit may have
    /// unloaded the session.
    pub(super) fn close_unloaded(&mut self) {
        self.phase = Phase::ClosedUnloaded;
    }

    /// Ends a request whose changes are not stored, or may not be. Later commits of other tasks fail.
    pub(super) fn close_unstored(&mut self) {
        self.phase = match self.phase {
            Phase::Unloaded | Phase::Failed | Phase::ClosedUnloaded => Phase::ClosedUnloaded,
            _ => Phase::Unstored,
        };
    }
}

/// The id.
impl SessionState {
    /// Resolves the id for the handler.
    pub(super) fn access_id(&mut self, engine: &Engine) {
        self.accessed = true;
        self.resolve_id(engine);
    }

    fn resolve_id(&mut self, engine: &Engine) {
        if let Some(reason) = self.identity.resolve(engine) {
            self.queue(engine, Event::CookieRejected { reason });
        }
    }

    /// Returns `true` if the request carried several ids, and no load has found the one that is alive.
    pub(super) fn is_id_ambiguous(&self) -> bool {
        self.identity.is_ambiguous()
    }

    /// Returns the key of the id, if there is an id.
    pub(super) fn key(&self) -> Option<StoreKey> {
        self.identity.key()
    }

    /// Returns `true` if `key` is the key of the id.
    pub(super) fn has_key(&self, key: &StoreKey) -> bool {
        self.identity.has_key(key)
    }

    /// Returns the id, if `key` is its key.
    pub(super) fn id_with_key(&self, key: &StoreKey) -> Option<SessionId> {
        self.identity.id_with_key(key)
    }

    /// Returns the id for the handler, and creates it if there is none. The browser needs the cookie of a new id.
    pub(super) fn issue_id(&mut self) -> Result<&SessionId, EntropyError> {
        self.changed |= !self.identity.is_from_request();
        match self.id_status {
            IdStatus::Alive | IdStatus::Expired => self.identity.issue_id(),
            // The session has ended. Another response may have set a newer cookie.
            _ => self.identity.ensure_id(),
        }
    }

    /// Returns the key of the id, and creates the id if there is none.
    pub(super) fn ensure_key(&mut self) -> Result<StoreKey, EntropyError> {
        self.changed |= !self.identity.is_from_request();
        self.identity.ensure_key()
    }

    pub(super) fn issue_csrf_secret(&mut self) -> Result<CsrfSecret, EntropyError> {
        self.changed = true;
        self.identity.issue_csrf_secret()
    }

    pub(super) fn verify_csrf_token(&self, token: &str) -> bool {
        self.identity.verify_csrf_token(token)
    }

    /// Returns `true` if the id came with the request.
    pub(super) fn is_id_from_request(&self) -> bool {
        self.identity.is_from_request()
    }

    /// Returns `true` if the request carried no live id of the session.
    pub(super) fn is_fresh(&self) -> bool {
        !self.identity.is_from_request() && !self.same_visitor
    }

    /// Returns the key of a session that the next commit destroys.
    pub(super) fn key_to_destroy(&self) -> Option<StoreKey> {
        self.key_to_destroy
    }

    pub(super) fn id_status(&self) -> IdStatus {
        self.id_status
    }

    /// Returns `true` if `regenerate` or `rotate_id` was called.
    pub(super) fn is_regenerated(&self) -> bool {
        self.regenerated
    }

    /// Returns `true` if the store confirmed during this request that the id is alive.
    pub(super) fn is_id_confirmed(&self) -> bool {
        self.identity.is_confirmed()
    }

    /// Returns `true` if the id or a CSRF token of it was handed out.
    pub(super) fn is_id_issued(&self) -> bool {
        self.identity.is_issued()
    }

    /// Returns `true` if the contents of the request's cookie have changed.
    pub(super) fn is_cookie_outdated(&self) -> bool {
        self.identity.is_cookie_outdated()
    }

    /// Returns the lifetime of the session in its cookies: that of the stored record.
    pub(super) fn cookie_lifetime(&self) -> Lifetime {
        self.identity.lifetime().unwrap_or_default()
    }

    /// Sets the lifetime in the cookie to that of the stored record. If the session's own timeout differs, a
    /// slower response of this process must not send the former one. `is_written`: by this request.
    #[inline]
    fn set_cookie_lifetime(&mut self, engine: &Engine, lifetime: Lifetime, is_written: bool) {
        if self.identity.lifetime() != Some(lifetime) {
            self.change_cookie_lifetime(engine, lifetime, is_written);
        }
    }

    #[inline(never)]
    fn change_cookie_lifetime(&mut self, engine: &Engine, lifetime: Lifetime, is_written: bool) {
        let former = self.identity.lifetime().unwrap_or_default();
        self.identity.set_lifetime(lifetime);
        if !former.has_timeouts_of(&lifetime)
            && let Some(key) = self.key().filter(|_| self.is_id_from_request())
        {
            engine.record_lifetime(key, lifetime, is_written);
        }
    }

    /// Returns the value of the id cookie to send.
    pub(super) fn cookie_text(&mut self, engine: &Engine) -> Result<&[u8], SessionError> {
        self.identity.cookie_text(engine)
    }

    /// Prevents the response from changing the browser's cookies, if nothing is stored after this.
    pub(super) fn keep_browser_cookies(&mut self) {
        // Another response may already have set a newer cookie.
        self.id_status = IdStatus::Regenerated;
    }
}

/// The store.
impl SessionState {
    /// Returns the store as this request sees it.
    pub(super) fn store<'a>(&'a self, engine: &'a Engine) -> &'a dyn Store {
        self.store_handle.store(&engine.backend)
    }

    /// Returns `true` if this request used a client-side store.
    pub(super) fn is_store_attached(&self) -> bool {
        self.store_handle.is_attached()
    }

    /// Returns the `Set-Cookie` lines of a client-side store.
    pub(super) fn set_cookies(&self, engine: &Engine) -> Result<SetCookies, SessionError> {
        let clears = engine.clears_with_browser(&self.cookie_lifetime());
        self.store_handle.set_cookies(clears)
    }

    /// Emits an event if a client-side store rejected the request's data cookie.
    pub(super) fn report_rejected_cookie(&mut self, engine: &Engine) {
        if let Some(reason) = self.store_handle.rejection() {
            self.queue(engine, Event::CookieRejected { reason });
        }
    }
}

/// Events. The listeners get them when the state is not locked any more.
impl SessionState {
    /// Queues an event, if there are listeners.
    pub(super) fn queue(&mut self, engine: &Engine, event: Event<'static>) {
        if !engine.listeners.is_empty() {
            self.events.push(QueuedEvent::Event(event));
        }
    }

    /// Queues [`Event::StoreFailed`] if the store caused `error`. Returns the error.
    pub(super) fn report(&mut self, engine: &Engine, error: SessionError) -> SessionError {
        if error.is_caused_by_store() && !engine.listeners.is_empty() {
            let failed = QueuedEvent::StoreFailed(self.key(), error.clone());
            self.events.push(failed);
        }
        error
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn take_events(&mut self) -> QueuedEvents {
        std::mem::take(&mut self.events)
    }
}

/// The savepoint.
impl SessionState {
    /// Saves the current state, which is stored, as the savepoint.
    pub(super) fn save(&mut self, engine: &Engine) {
        let savepoint = self.set_cookies(engine).map(|cookies| Savepoint {
            identity: self.identity.clone(),
            id_status: self.id_status,
            version: self.version,
            cookies,
        });
        self.savepoint = savepoint.ok().map(Box::new);
    }

    /// Restores the savepoint. Returns `false` if there is none.
    pub(super) fn restore_savepoint(&mut self) -> bool {
        let Some(savepoint) = self.savepoint.take() else {
            return false;
        };
        self.identity = savepoint.identity;
        self.id_status = savepoint.id_status;
        self.version = savepoint.version;
        self.store_handle.restore_cookies(savepoint.cookies);
        true
    }

    /// Restores the savepoint if the session has its id, which did not come with the request: the browser does not
    /// have the id yet. A commit that was refused has unloaded the session since.
    pub(super) fn restore_stored_id(&mut self) {
        let is_new = |key: &StoreKey| !self.is_id_from_request() && self.has_key(key);
        let saved = self.savepoint.as_ref().and_then(|it| it.identity.key());
        if saved.is_some_and(|key| is_new(&key)) {
            self.restore_savepoint();
        }
    }

    /// Drops the changes of a final commit. The response sets the cookies of the savepoint, or
    /// none.
    pub(super) fn drop_final_changes(&mut self) {
        self.close_unstored();
        if !self.restore_savepoint() {
            self.keep_browser_cookies();
            self.version = None;
            if self.regeneration.is_some() {
                // Nothing is stored under the new id. The session keeps the old one.
                self.identity.discard_id();
            }
        }
    }
}
