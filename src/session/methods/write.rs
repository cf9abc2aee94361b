//! Methods that change a session.

use std::sync::{Arc, Mutex};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    document::{
        EditError, KeyPath, Number, NumberPath, RawValue, ReadPath, ValueCopy, WritePath, to_json,
        with_json,
    },
    patch::Update,
    session::{Session, SessionError},
};

/// # Writing
///
/// Each method changes the session as this request sees it, and records the change. The commit
/// applies the recorded changes to the record that is stored by then. See
/// [Concurrency](Self#concurrency).
///
/// If the session cannot be changed, these methods fail with
/// [`NotLoaded`](SessionError::NotLoaded), [`ReadOnly`](SessionError::ReadOnly) or
/// [`Committed`](SessionError::Committed). After a failure the session is as before.
impl Session {
    /// Stores `value` at `path`. Missing objects on the path are created, and arrays for numeric
    /// keys. If an object in the value has equal keys, the last one's value is stored. The value may be
    /// passed by reference.
    ///
    /// A put of the value that the session holds already is a change too, and the commit writes it.
    /// If another request changed the value in the meantime, this put wins.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Change`](SessionError::Change) if a limit is exceeded, if
    /// the value has no JSON form, or if a number in it is NaN or infinite.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.put("user.email", "foo@bar.com")?;
    /// session.put("product_ids", [1, 2, 3])?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "insert")]
    #[doc(alias = "insert_value")]
    #[doc(alias = "set")]
    pub fn put<'p, V: Serialize>(
        &self,
        path: impl WritePath<'p, V>,
        value: V,
    ) -> Result<(), SessionError> {
        let path = path.into();
        with_json(&path, &value, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.put_json(data, &path, json)?)
        })
    }

    /// Stores `value` at `path`, unless there is a value other than null. Returns `true` if this request
    /// stored it.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    ///
    /// # Concurrency
    /// If several requests store a value at the same time, the one that commits first wins, although the
    /// method returns `true` in each of them. After a [`commit`](Self::commit), [`get`](Self::get) returns the
    /// stored value.
    #[doc(alias = "get_or_insert")]
    #[doc(alias = "insert_if_absent")]
    pub fn put_if_absent<'p, V: Serialize>(
        &self,
        path: impl WritePath<'p, V>,
        value: V,
    ) -> Result<bool, SessionError> {
        let path = path.into();
        with_json(&path, &value, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.put_json_if_absent(data, &path, json)?)
        })
    }

    /// Calls `update` with the value at `path`, and stores the changed value. A missing value and null
    /// count as `T::default()`. Returns the new value.
    ///
    /// Use this for changes that depend on the old value and that no other method describes. For a sum use
    /// [`increment_by`](Self::increment_by), for a list [`push`](Self::push): they are cheaper.
    ///
    /// # Errors
    /// See [`put`](Self::put). [`Read`](SessionError::Read) if the value is not a `T`.
    ///
    /// # Concurrency
    /// If another request changes the session at the same time, the commit calls `update` again, with the
    /// value that is stored by then. So `update` must have no side effects. It runs at most once in each
    /// attempt, always on the task of this request, and may use the session. If the stored value is not a `T`
    /// any more, the commit fails with [`Conflict`](SessionError::Conflict). If `update` panics, only this
    /// request fails.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.update("recent", |recent: &mut Vec<String>| {
    ///     recent.insert(0, "/products/7".to_owned());
    ///     recent.truncate(10);
    /// })?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "modify")]
    pub fn update<'p, T>(
        &self,
        path: impl ReadPath<'p, T>,
        mut update: impl FnMut(&mut T) + Send + 'static,
    ) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned + Default + 'static,
    {
        let path = &path.into();
        self.check_writable()?;
        let (mut old, mut json) = (ValueCopy::new(), Vec::new());
        loop {
            let is_found = self.copy_value(path, &mut old)?;
            let mut value = match is_found {
                true => old.get().deserialize()?,
                false => T::default(),
            };
            update(&mut value);
            json.clear();
            to_json(path, &value, &mut json)?;
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            let found = data.get_path(path)?.filter(|value| !value.is_null());
            // Another task, or `update` itself, may have changed the value.
            if found == is_found.then(|| old.get()) {
                patch.update_json(data, path, RawValue::new(&json), json_update(update))?;
                return Ok(value);
            }
        }
    }

    /// Merges an object into the session: objects deeply, arrays by index. Its keys are literal.
    ///
    /// # Errors
    /// See [`put`](Self::put). [`Change`](SessionError::Change) if `values` is not an object.
    pub fn merge(&self, values: impl Serialize) -> Result<(), SessionError> {
        with_json(&KeyPath::root(), &values, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.merge_json(data, json)?)
        })
    }

    /// Replaces all values by `values`, an object. It is the inverse of [`all`](Self::all): afterwards, `all`
    /// returns these values, and nothing of the old ones is left. Flash messages stay.
    ///
    /// # Errors
    /// See [`put`](Self::put). [`Change`](SessionError::Change) if `values` is not an object.
    ///
    /// # Concurrency
    /// The commit decides about each member as a whole. It puts the members of `values`, and removes the others
    /// as this request has seen them. So a member that another request changed at the same time, also below it,
    /// is replaced if `values` has it, and stays if not. To store only the fields that have changed, use
    /// [`update_all`](Self::update_all).
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Cart {
    ///     product_ids: Vec<u64>,
    /// }
    ///
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.replace(&Cart { product_ids: vec![9] })?;
    /// let cart: Cart = session.all()?;
    /// # let _ = cart; Ok(()) }
    /// ```
    #[doc(alias = "set_all")]
    pub fn replace(&self, values: impl Serialize) -> Result<(), SessionError> {
        with_json(&KeyPath::root(), &values, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.replace_json(data, json)?)
        })
    }

    /// Removes the value at `path`, if there is one. An array keeps its length. Null replaces the
    /// value.
    ///
    /// # Errors
    /// If the session cannot be changed.
    #[doc(alias = "remove")]
    #[doc(alias = "unset")]
    #[doc(alias = "delete")]
    pub fn forget<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<(), SessionError> {
        let path = path.into();
        let mut state = self.writable()?;
        let (patch, data) = state.patch_and_data();
        patch.forget(data, path)?;
        Ok(())
    }

    /// Removes the value at `path` and returns it, or `None` if it was missing or null.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Read`](SessionError::Read) if the value is not a `T`; it
    /// is not removed then.
    ///
    /// # Concurrency
    /// If two requests pull the same value at the same time, both may get it. If the value was missing, the
    /// commit removes nothing, so a value that another request puts at the same time stays.
    #[doc(alias = "pop")]
    #[doc(alias = "take")]
    #[doc(alias = "remove_as")]
    pub fn pull<'p, T: DeserializeOwned>(
        &self,
        path: impl ReadPath<'p, T>,
    ) -> Result<Option<T>, SessionError> {
        let path = &path.into();
        let mut copy = ValueCopy::new();
        loop {
            let is_found = self.copy_value(path, &mut copy)?;
            let value = is_found.then(|| copy.get().deserialize()).transpose()?;
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            let stored = data.get_path(path)?;
            let is_stored = stored.is_some();
            let found = stored.filter(|value| !value.is_null());
            // Another task or the type's `Deserialize` may have changed the value.
            if found == is_found.then(|| copy.get()) {
                if is_stored {
                    patch.forget(data, path)?;
                }
                return Ok(value);
            }
        }
    }

    /// Removes the value at `path` and returns it, or `default` if it was missing or null.
    ///
    /// # Errors
    /// See [`pull`](Self::pull).
    pub fn pull_or<'p, T: DeserializeOwned>(
        &self,
        path: impl ReadPath<'p, T>,
        default: T,
    ) -> Result<T, SessionError> {
        Ok(self.pull(path)?.unwrap_or(default))
    }

    /// Adds 1 to the number at `path` and returns the sum. A missing value and null count as 0.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Change`](SessionError::Change) if the value is not a
    /// number, if a sum of integers does not fit into 128 bits, or if a float is not finite.
    ///
    /// # Concurrency
    /// Increments of requests that run at the same time add up.
    pub fn increment<'p>(&self, path: impl NumberPath<'p>) -> Result<Number, SessionError> {
        self.increment_by(path, 1)
    }

    /// Adds `amount` to the number at `path` and returns the sum.
    ///
    /// # Errors
    /// See [`increment`](Self::increment).
    pub fn increment_by<'p>(
        &self,
        path: impl NumberPath<'p>,
        amount: impl Into<Number>,
    ) -> Result<Number, SessionError> {
        let (path, amount) = (path.into(), amount.into());
        let mut state = self.writable()?;
        let (patch, data) = state.patch_and_data();
        Ok(patch.add(data, path, amount)?)
    }

    /// Subtracts 1 from the number at `path` and returns the difference.
    ///
    /// # Errors
    /// See [`increment`](Self::increment).
    pub fn decrement<'p>(&self, path: impl NumberPath<'p>) -> Result<Number, SessionError> {
        self.increment_by(path, -1)
    }

    /// Subtracts `amount` from the number at `path` and returns the difference.
    ///
    /// # Errors
    /// See [`increment`](Self::increment).
    pub fn decrement_by<'p>(
        &self,
        path: impl NumberPath<'p>,
        amount: impl Into<Number>,
    ) -> Result<Number, SessionError> {
        let (path, amount) = (path.into(), amount.into());
        let mut state = self.writable()?;
        let (patch, data) = state.patch_and_data();
        Ok(patch.subtract(data, path, amount)?)
    }

    /// Removes all values that this request sees. Flash messages stay.
    ///
    /// To log a visitor out, call [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// If the session cannot be changed.
    ///
    /// # Concurrency
    /// Values that another request writes at the same time stay.
    pub fn clear(&self) -> Result<(), SessionError> {
        let mut state = self.writable()?;
        let (patch, data) = state.patch_and_data();
        patch.clear(data);
        Ok(())
    }
}

/// Returns a function that updates the JSON text of a `T`.
fn json_update<T>(mut update: impl FnMut(&mut T) + Send + 'static) -> Update
where
    T: Serialize + DeserializeOwned + Default + 'static,
{
    let update_json = move |path: &KeyPath<'_>,
                            old: Option<RawValue<'_>>,
                            out: &mut Vec<u8>|
          -> Result<(), EditError> {
        let old = old.map(RawValue::deserialize).transpose();
        let old = old.map_err(|error| EditError::wrong_type(path, error))?;
        let mut value: T = old.unwrap_or_default();
        update(&mut value);
        to_json(path, &value, out)
    };
    Arc::new(Mutex::new(update_json))
}
