//! Methods that change an array of a session.

use serde::Serialize;

use crate::{
    document::{ListPath, with_json},
    session::{Session, SessionError},
};

/// # Lists
///
/// Each method changes one array. A missing value and null count as an empty array. Changes of requests
/// that run at the same time merge: the commit applies each to the array that is stored by then.
///
/// Two elements are equal if they are the same JSON value. The members of objects may be in any order.
/// `1` and `1.0` differ.
///
/// An operation that finds the array as it should be is no change: alone, it causes no write.
impl Session {
    /// Appends `value` to the array at `path`.
    ///
    /// # Errors
    /// See [`put`](Self::put). [`Change`](SessionError::Change) if the value at `path` is not an array.
    ///
    /// # Concurrency
    /// If several requests push at the same time, all their values are stored, in the order of the commits.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.push("recent", "/products/7")?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "append")]
    pub fn push<'p, V: Serialize>(
        &self,
        path: impl ListPath<'p, V>,
        value: V,
    ) -> Result<(), SessionError> {
        let path = path.into();
        with_json(&path, &value, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.push_json(data, &path, json)?)
        })
    }

    /// Appends `value` to the array at `path`, unless the array has an equal element. Returns `true` if
    /// this request appended it.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    ///
    /// # Concurrency
    /// If several requests push the same value at the same time, it is stored once, although the method
    /// may return `true` in each of them.
    #[doc(alias = "add_to_set")]
    pub fn push_unique<'p, V: Serialize>(
        &self,
        path: impl ListPath<'p, V>,
        value: V,
    ) -> Result<bool, SessionError> {
        let path = path.into();
        with_json(&path, &value, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.push_unique_json(data, &path, json)?)
        })
    }

    /// Removes every element that equals `value` from the array at `path`. The elements after it move up.
    /// Returns `true` if there was one.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    ///
    /// # Concurrency
    /// Equal elements that other requests have stored by the commit are removed too, if the request makes a
    /// change.
    pub fn remove_value<'p, V: Serialize>(
        &self,
        path: impl ListPath<'p, V>,
        value: V,
    ) -> Result<bool, SessionError> {
        let path = path.into();
        with_json(&path, &value, |json| {
            let mut state = self.writable()?;
            let (patch, data) = state.patch_and_data();
            Ok(patch.remove_value_json(data, &path, json)?)
        })
    }
}
