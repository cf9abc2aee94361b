//! Methods that load a session.

use crate::session::{
    Load, Session,
    state::{LoadMode, Phase},
};

/// # Loading
impl Session {
    /// Loads the session from the store, if the request carried an id that this service issued. A
    /// session without such an id is new and empty.
    ///
    /// Await the returned future, whose output is this session. Loading takes the flash messages of the
    /// previous request. A cookie that this service did not issue is not an error.
    ///
    /// A second load does nothing. Only a session that was loaded with
    /// [`load_read_only`](Self::load_read_only) becomes writable, for all handles of the request, and its flash
    /// messages are taken. This needs no second read.
    ///
    /// # Errors
    /// A [store failure](crate::SessionError::is_store_failure) if the store fails, or if its record is
    /// sealed with an unknown key or was written by a newer release. (A record that is damaged or not a
    /// session is no error: the visitor gets a new session, with an
    /// [`Event::RecordUnreadable`](crate::session::Event::RecordUnreadable).) Under [`OnStoreFailure::ReadOnly`](crate::session::OnStoreFailure::ReadOnly) the
    /// session is then empty and read-only instead.
    ///
    /// The error of the first load, if that load failed.
    /// [`Committed`](crate::SessionError::Committed) during or after the final commit.
    ///
    /// # Concurrency
    /// Several tasks of the request may load the session at the same time. The first result counts.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # async fn handler(session: &Session) -> Result<(), SessionError> {
    /// let session = session.load().await?;
    /// let name: Option<String> = session.get("user.name")?;
    /// # let _ = name; Ok(()) }
    /// ```
    #[doc(alias = "initiate")]
    #[doc(alias = "open")]
    pub fn load(&self) -> Load<'_> {
        Load::new(self, LoadMode::Write)
    }

    /// Loads the session for reading. Methods that change it then fail with
    /// [`ReadOnly`](crate::SessionError::ReadOnly), and its flash messages stay for the next
    /// request. A later [`load`](Self::load) makes it writable. A session that is loaded for writing stays
    /// writable.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn load_read_only(&self) -> Load<'_> {
        Load::new(self, LoadMode::ReadOnly)
    }

    /// Returns `true` if the session is loaded.
    #[doc(alias = "initiated")]
    pub fn is_loaded(&self) -> bool {
        let phase = self.state().phase();
        !matches!(
            phase,
            Phase::Unloaded | Phase::Failed | Phase::ClosedUnloaded
        )
    }

    /// Returns `true` if the session is loaded and can only be read.
    pub fn is_read_only(&self) -> bool {
        matches!(self.state().phase(), Phase::ReadOnly(_))
    }
}
