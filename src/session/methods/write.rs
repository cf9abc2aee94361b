//! Writing a session. Each change is applied to what this request sees and recorded, to be applied
//! again on what other requests wrote meanwhile.

use serde::{Serialize, de::DeserializeOwned};

use crate::session::{Session, SessionError};
use crate::{
    document::{KeyPath, Number},
    store::Tag,
};

impl Session {
    /// Puts `value` at `path`, creating objects, and arrays for numeric keys, on the way.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.put("user.email", "foo@bar.com")?;
    /// session.put("product_ids", &[1, 2, 3])?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the session cannot be changed, the value is not serializable, or a limit is reached;
    /// nothing is changed then.
    pub fn put<'p, T: Serialize + ?Sized>(
        &self,
        path: impl Into<KeyPath<'p>>,
        value: &T,
    ) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        Ok(state.patch.put(&mut state.data, path, value)?)
    }

    /// Merges an object into the session: deeply, arrays by index. Its keys are taken literally.
    ///
    /// # Errors
    /// As [`put`](Self::put); also when `values` is not an object.
    pub fn merge<T: Serialize + ?Sized>(&self, values: &T) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        Ok(state.patch.merge(&mut state.data, values)?)
    }

    /// Removes what is at `path`. An array keeps its length: null stands in the gap.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn forget<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        state.patch.forget(&mut state.data, path)?;
        Ok(())
    }

    /// Removes the value at `path` and returns it; `None` where there was nothing or null.
    ///
    /// Two requests that pull the same key at the same time may both get the value.
    ///
    /// # Errors
    /// When the session cannot be changed, or the value there is not a `T`; it stays then.
    pub fn pull<'p, T: DeserializeOwned>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<T>, SessionError> {
        let path = &path.into();
        let mut guard = self.state();
        let state = guard.writable()?;
        let found = state.data.get(path)?.filter(|value| !value.is_null());
        let value = found.map(|value| value.deserialize()).transpose()?;
        state.patch.forget(&mut state.data, path)?;
        Ok(value)
    }

    /// Adds 1 to the number at `path` and returns the sum. Nothing there, or null, counts as 0.
    ///
    /// Increments of requests that run at the same time add up.
    ///
    /// # Errors
    /// When the session cannot be changed, the value there is not a number, or the sum of integers
    /// does not fit 128 bits.
    pub fn increment<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<Number, SessionError> {
        self.increment_by(path, 1)
    }

    /// Adds `by` to the number at `path` and returns the sum.
    ///
    /// # Errors
    /// As [`increment`](Self::increment).
    pub fn increment_by<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
        by: impl Into<Number>,
    ) -> Result<Number, SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        Ok(state.patch.add(&mut state.data, path, by)?)
    }

    /// Takes 1 from the number at `path` and returns the difference.
    ///
    /// # Errors
    /// As [`increment`](Self::increment).
    pub fn decrement<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<Number, SessionError> {
        self.increment_by(path, -1)
    }

    /// Takes `by` from the number at `path` and returns the difference.
    ///
    /// # Errors
    /// As [`increment`](Self::increment).
    pub fn decrement_by<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
        by: impl Into<Number>,
    ) -> Result<Number, SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        Ok(state.patch.subtract(&mut state.data, path, by)?)
    }

    /// Removes everything. Like every other change it touches only what this request has seen: what
    /// another request writes at the same time stays.
    ///
    /// To log a visitor out, use [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn clear(&self) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        state.patch.clear(&mut state.data);
        Ok(())
    }

    /// Tags the session with its owner's name, usually a user id, so that all sessions of one owner
    /// can be listed and ended together. The tag follows a regenerated id. It is in place before
    /// another request can find what this one stores beside it.
    ///
    /// # Errors
    /// When the session cannot be changed, the tag is empty or over 256 bytes, or the store has no
    /// tags.
    pub fn tag(&self, owner: &str) -> Result<(), SessionError> {
        self.queue_tag(owner, true)
    }

    /// Takes a tag off the session.
    ///
    /// # Errors
    /// As [`tag`](Self::tag).
    pub fn untag(&self, owner: &str) -> Result<(), SessionError> {
        self.queue_tag(owner, false)
    }

    fn queue_tag(&self, owner: &str, add: bool) -> Result<(), SessionError> {
        let tag = Tag::new(owner)?;
        if self.engine.backend.store().tags().is_none() {
            return Err(SessionError::TagsUnsupported);
        }
        self.state().writable()?.tags.push((tag, add));
        Ok(())
    }
}
