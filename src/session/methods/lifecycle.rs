//! Methods that regenerate, destroy and commit a session.

use std::time::Duration;

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
        self.rotate_id(Duration::ZERO)
    }

    /// Gives the session a new id, like [`regenerate`](Self::regenerate), while requests with the old id
    /// keep working for the time `grace`. Use it to rotate ids periodically.
    ///
    /// Do not call it when the visitor's rights change. An id that an attacker knows would stay valid
    /// for the grace window; only [`regenerate`](Self::regenerate) defeats session fixation.
    ///
    /// In the window, a request with the old id loads the session under its new id, and its response sends
    /// the new cookie. A request that does not use its session sends nothing. The window begins at the
    /// commit and lasts no longer than the session. It ends early for both ids when the session is
    /// destroyed, under either id or by a tag, and for the old id at the next
    /// [`regenerate`](Self::regenerate). Two rotations may overlap: a load follows two fences.
    ///
    /// With a store that has no [conditional writes](crate::store::Capabilities), such as one in cookies,
    /// and with a `grace` of zero, this is `regenerate`. So it is if the request calls `regenerate` too.
    ///
    /// CSRF tokens of the old id are valid in this request and in requests that carry the old id. Forms
    /// that were rendered before must be rendered again.
    ///
    /// # Errors
    /// See [`regenerate`](Self::regenerate).
    ///
    /// # Concurrency
    /// Changes that another request commits under the old id are kept, before the commit and in the
    /// window. Rotations at once are one rotation, unless a request handed out its new id or a CSRF token of it. A
    /// regeneration that another request began under the old id starts from the new one.
    #[doc(alias = "cycle_id")]
    #[doc(alias = "rotate")]
    pub fn rotate_id(&self, grace: Duration) -> Result<(), SessionError> {
        let mut state = self.state();
        state.begin_id_change(&self.writer)?;
        Ok(state.regenerate(&self.engine, grace)?)
    }

    /// Returns `true` if [`regenerate`](Self::regenerate) or [`rotate_id`](Self::rotate_id) was called in
    /// this request.
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
    /// has regenerated the session, the session stays alive under its new id. To end it under every id,
    /// use its tag and
    /// [`SessionCollection::destroy_tagged`](crate::session::SessionCollection::destroy_tagged).
    #[doc(alias = "flush")]
    #[doc(alias = "purge")]
    #[doc(alias = "delete")]
    #[doc(alias = "invalidate")]
    #[doc(alias = "logout")]
    pub fn destroy(&self) -> Result<(), SessionError> {
        self.with_events(|state| state.destroy(&self.engine))
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
    ///   [`OutcomeUnknown`](SessionError::OutcomeUnknown) if the runtime of another request ends, or the
    ///   store does not answer within `commit_timeout` after a conflict. The changes may be stored or not,
    ///   and later commits of this session fail.
    /// - [`Contention`](SessionError::Contention) if too many requests change the session at once, or
    ///   [`TooLarge`](SessionError::TooLarge) if it is over the store's size limit, or over `limits.document` together
    ///   with changes of other requests. Nothing is stored, and the session can be changed and committed again.
    /// - [`Conflict`](SessionError::Conflict) if a change does not fit a change of another request.
    ///   Nothing is stored, and the session is unloaded: [`load`](Self::load) it again and repeat the changes. The changes of
    ///   all handles are dropped, also those made during the commit, with an
    ///   [`Event::WriteDropped`](crate::session::Event::WriteDropped) for these.
    /// - The same error again if a commit of another task was refused and dropped changes of this handle. It is
    ///   returned once, by the next change or commit of this handle.
    /// - `Conflict` or `TooLarge` if changes that were made during an earlier commit do not fit the changes of other
    ///   requests which that commit merged. Nothing is stored, and the session is unloaded after either.
    /// - [`Committed`](SessionError::Committed) if another commit of this session is running. After the response,
    ///   if the session is not loaded, or if changes were dropped or may not be stored.
    ///
    /// If the commit was to regenerate the session, the request cannot change the session after a
    /// `Conflict` or a `TooLarge` that would unload the session, nor after any of these errors if the commit had
    /// written the record of the new id.
    /// Changes then fail with `Committed`.
    ///
    /// Until the response, it is not an error if the session has ended during the request: another request has
    /// destroyed or regenerated it, its record has expired, or its store has evicted it. The changes are then
    /// dropped, with an [`Event::WriteDropped`](crate::session::Event::WriteDropped).
    ///
    /// # Concurrency
    /// A commit stores the changes of all handles of the request. Its result is about those of its own handle.
    /// So each task that commits needs a clone: an error may reach only one of two tasks with the same handle. If changes made during a refused commit are dropped and their handle makes no further change or
    /// commit, the response is a 409 (`on_conflict`).
    ///
    /// Changes that another task of the request makes during the commit belong to the next commit, unless this one still
    /// waits for its turn;
    /// `regenerate`, `rotate_id` and `destroy` fail with [`Committed`](SessionError::Committed) until it
    /// ends. If other requests changed the session meanwhile, the session contains their changes
    /// afterwards.
    #[doc(alias = "save")]
    pub fn commit(&self) -> Commit {
        Commit::new(self.same_handle())
    }
}
