//! Methods that regenerate, destroy and commit a session.

use crate::session::{Commit, Session, SessionError};

/// # Life cycle
impl Session {
    /// Gives the session a new id. Its data, flash messages and tags stay.
    ///
    /// Call it when the visitor's rights change, above all at sign-in. An id that an attacker
    /// planted or saw before is then useless (session fixation).
    ///
    /// The handle has the new id at once. The commit writes the new record and then replaces the old
    /// record with a fence.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded), [`ReadOnly`](SessionError::ReadOnly) or
    /// [`Committed`](SessionError::Committed) if the session cannot be changed.
    /// [`Entropy`](SessionError::Entropy) if no id could be generated.
    ///
    /// # Concurrency
    /// Changes that another request stores under the old id before the commit are kept. After it,
    /// no request can load the old id. Changes of slower requests are dropped, with an
    /// [`Event::WriteDropped`](crate::session::Event::WriteDropped).
    #[doc(alias = "cycle_id")]
    #[doc(alias = "renew")]
    #[doc(alias = "migrate")]
    pub fn regenerate(&self) -> Result<(), SessionError> {
        Ok(self.state().writable()?.regenerate(&self.engine)?)
    }

    /// Returns `true` if [`regenerate`](Self::regenerate) was called in this request.
    #[doc(alias = "hasRegeneratedSession")]
    pub fn has_regenerated(&self) -> bool {
        self.state().is_regenerated()
    }

    /// Destroys the session, for example to log the visitor out. The commit destroys its record,
    /// and the response removes its cookie.
    ///
    /// The session need not be loaded, unless the request carried several session cookies (see the guide's
    /// page on security). Its record may be unreadable. Values that are put or
    /// flashed afterwards in the same request begin a new session with a new id.
    ///
    /// # Errors
    /// [`ReadOnly`](SessionError::ReadOnly) if the session was loaded for reading.
    /// [`Committed`](SessionError::Committed) if it is committed already. Either
    /// [`NotLoaded`](SessionError::NotLoaded) or `ReadOnly` if sessions are disabled.
    ///
    /// # Concurrency
    /// Slower requests cannot restore the session; their changes are dropped. If another request
    /// has just regenerated the session, the session stays alive under its new id. To end it under every id,
    /// use its tag and
    /// [`SessionCollection::destroy_tagged`](crate::session::SessionCollection::destroy_tagged).
    #[doc(alias = "flush")]
    #[doc(alias = "purge")]
    #[doc(alias = "delete")]
    #[doc(alias = "invalidate")]
    #[doc(alias = "logout")]
    pub fn destroy(&self) -> Result<(), SessionError> {
        self.state().destroy(&self.engine)
    }

    /// Stores the changes made so far. The next commit stores later changes.
    ///
    /// The service commits when the handler has returned. Call this only if the changes must be
    /// stored earlier, for example before a call of another service. Await the returned future.
    ///
    /// The response sets the cookies for the stored state, for example a new id, whatever its status
    /// is. If a later commit fails, the 503 or 500 that replaces the response sets them too. If the
    /// handler returns an error instead of a response, no cookies are set. After a
    /// [`regenerate`](Self::regenerate) the browser then keeps a dead id.
    ///
    /// # Errors
    /// - [`Store`](SessionError::Store) if the store fails, or
    ///   [`OutcomeUnknown`](SessionError::OutcomeUnknown) if the runtime of another request ends. The
    ///   changes may be stored or not, and later commits of this session fail.
    /// - [`Contention`](SessionError::Contention) if too many requests change the session at once, or
    ///   [`TooLarge`](SessionError::TooLarge) if it is over the store's size limit. Nothing is stored,
    ///   and the session can be changed and committed again.
    /// - [`Conflict`](SessionError::Conflict) if a change does not fit a change of another request.
    ///   Nothing is stored, and the session is unloaded: [`load`](Self::load) it again.
    /// - [`Committed`](SessionError::Committed) if another commit of this session is running.
    ///
    /// If the commit was to regenerate the session, the request cannot change the session after any
    /// of these errors.
    ///
    /// It is not an error if another request has destroyed the session. The changes are then
    /// dropped, with an [`Event::WriteDropped`](crate::session::Event::WriteDropped).
    ///
    /// # Concurrency
    /// Changes that another task of the request makes during the commit belong to the next commit. If
    /// other requests changed the session meanwhile, the session contains their changes afterwards.
    #[doc(alias = "save")]
    pub fn commit(&self) -> Commit {
        Commit::new(self.clone())
    }
}
