//! Methods that read a session.

use serde::de::DeserializeOwned;

use crate::{
    document::{KeyPath, ReadPath, ValueCopy, from_document, with_buffer},
    id::{SessionId, StoreKey},
    session::{Session, SessionError, Snapshot},
};

/// # Reading
impl Session {
    /// Returns the value at `path`, or `None` if it is missing or null.
    ///
    /// A path is text in dot notation (`user.email`, `items.0.name`, `items[0]["a.b"]`), or a list
    /// of literal keys (`["a.b", "c"]`), or a [`TypedKey`](crate::TypedKey).
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    /// [`Read`](SessionError::Read) if the value is not a `T`.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// let email: Option<String> = session.get("user.email")?;
    /// let first: Option<u32> = session.get(["product_ids", "0"])?;
    /// # let _ = (email, first); Ok(()) }
    /// ```
    #[doc(alias = "get_value")]
    pub fn get<'p, T: DeserializeOwned>(
        &self,
        path: impl ReadPath<'p, T>,
    ) -> Result<Option<T>, SessionError> {
        let path = &path.into();
        let mut copy = ValueCopy::new();
        let is_found = self.copy_value(path, &mut copy)?;
        let value = is_found.then(|| copy.get().deserialize());
        Ok(value.transpose()?)
    }

    /// Returns the value at `path`, or `default` if it is missing or null.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    pub fn get_or<'p, T: DeserializeOwned>(
        &self,
        path: impl ReadPath<'p, T>,
        default: T,
    ) -> Result<T, SessionError> {
        Ok(self.get(path)?.unwrap_or(default))
    }

    /// Returns `true` if there is a value other than null at `path`. The values `0`, `false`, `""`
    /// and `[]` count.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    #[doc(alias = "contains_key")]
    #[doc(alias = "exists")]
    pub fn has<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<bool, SessionError> {
        let path = path.into();
        Ok(self.state().readable()?.data().has(path)?)
    }

    /// Returns the whole session as an object: a map, or a struct of yours. Flash messages are not
    /// included.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    /// [`Read`](SessionError::Read) if the session does not fit `T`.
    #[doc(alias = "entries")]
    #[doc(alias = "toJSON")]
    pub fn all<T: DeserializeOwned>(&self) -> Result<T, SessionError> {
        with_buffer(|text| {
            text.extend_from_slice(self.state().readable()?.data().text());
            Ok(from_document(text)?)
        })
    }

    /// Returns a snapshot of the session, to borrow values from it. Flash messages are not
    /// included.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    pub fn snapshot(&self) -> Result<Snapshot, SessionError> {
        Ok(Snapshot::new(self.state().readable()?.data().clone()))
    }

    /// Returns `true` if the session has no values. Flash messages do not count.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    pub fn is_empty(&self) -> Result<bool, SessionError> {
        Ok(self.state().readable()?.data().is_empty())
    }

    /// Returns the secret id, and creates it if the request carried none that is alive. The response then sets its
    /// cookie, even if nothing is stored. In two cases it sets the cookie only if something is stored: this request
    /// destroyed its session, or another request ended the session that the request's cookie names. Another response
    /// may have set a newer cookie then. The id stays the same until the session expires, or is regenerated or
    /// destroyed.
    ///
    /// The session need not be loaded. Anyone who knows the id controls the session, so do not log
    /// it. Log the [`store_key`](Self::store_key) instead.
    ///
    /// # Errors
    /// [`Entropy`](SessionError::Entropy) if a new id could not be generated.
    #[doc(alias = "session_id")]
    #[doc(alias = "sessionId")]
    pub fn id(&self) -> Result<SessionId, SessionError> {
        Ok(self.with_id(|state| state.issue_id().cloned())?)
    }

    /// Returns the key that identifies this session in stores and in the
    /// [`SessionCollection`](crate::session::SessionCollection). It is not secret. The session need
    /// not be loaded.
    ///
    /// If the request carried no id, this creates one. Under
    /// [`CookiePolicy::WhenUsed`](crate::CookiePolicy::WhenUsed) its cookie is set only if the session is stored or
    /// the [`id`](Self::id) was returned. Otherwise the visitor's next request has another key.
    ///
    /// # Errors
    /// See [`id`](Self::id).
    pub fn store_key(&self) -> Result<StoreKey, SessionError> {
        Ok(self.with_id(|state| state.ensure_key())?)
    }

    /// Returns `true` if the session is new: the request carried no id of this service, or a dead
    /// one.
    ///
    /// The session need not be loaded. Before [`load`](Self::load), an id that is dead in the store
    /// still counts as alive.
    #[doc(alias = "fresh")]
    #[doc(alias = "is_new")]
    pub fn is_fresh(&self) -> bool {
        self.with_id(|state| state.is_fresh())
    }

    /// Returns `true` if this request made a change that is not committed yet. A change counts even
    /// if it wrote the value that was there.
    #[doc(alias = "hasBeenModified")]
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Replaces `copy` with the value at `path`. Returns `false` if it is missing or null.
    ///
    /// A `Deserialize` implementation may use the session, so it must not run under the lock.
    pub(super) fn copy_value(
        &self,
        path: &KeyPath<'_>,
        copy: &mut ValueCopy,
    ) -> Result<bool, SessionError> {
        let state = self.state();
        let value = state.readable()?.data().get_path(path)?;
        let value = value.filter(|value| !value.is_null());
        Ok(value.map(|value| copy.set(value)).is_some())
    }
}
