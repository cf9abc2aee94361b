//! A snapshot of a session's data or flash messages.

use serde::Deserialize;

use super::SessionError;
use crate::document::{Document, KeyPath, RawValue, ReadPath};

/// The data of a session, or its flash messages, at one moment. Values can be borrowed from it.
///
/// Later changes of the session do not show in it. Creating one copies nothing if the session has
/// not been changed.
///
/// ```
/// # use hyper_session::{Session, SessionError};
/// # fn handler(session: &Session) -> Result<(), SessionError> {
/// let snapshot = session.snapshot()?;
/// let name: Option<&str> = snapshot.get("user.name")?;
/// # let _ = name; Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Document);

impl Snapshot {
    pub(super) const fn new(document: Document) -> Self {
        Self(document)
    }

    /// Returns the value at `path`, or `None` if it is missing or null. A `&str` without escapes is
    /// borrowed.
    ///
    /// # Errors
    /// [`Read`](SessionError::Read) if the value is not a `T`.
    pub fn get<'a, 'p, T: Deserialize<'a>>(
        &'a self,
        path: impl ReadPath<'p, T>,
    ) -> Result<Option<T>, SessionError> {
        let value = self.0.get(path)?.filter(|value| !value.is_null());
        value.map(|value| Ok(value.deserialize()?)).transpose()
    }

    /// Returns the JSON text of the value at `path`, including null, or `None` if it is missing.
    ///
    /// # Errors
    /// [`Malformed`](SessionError::Malformed) if the stored document is damaged.
    pub fn get_raw<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<RawValue<'_>>, SessionError> {
        Ok(self.0.get(path)?)
    }

    /// Returns `true` if there is a value other than null at `path`.
    ///
    /// # Errors
    /// [`Malformed`](SessionError::Malformed) if the stored document is damaged.
    #[doc(alias = "contains_key")]
    pub fn has<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<bool, SessionError> {
        Ok(self.0.has(path)?)
    }

    /// Returns all values as an object: a map, or a struct of yours.
    ///
    /// # Errors
    /// [`Read`](SessionError::Read) if the values do not fit `T`.
    pub fn all<T: serde::de::DeserializeOwned>(&self) -> Result<T, SessionError> {
        Ok(self.0.deserialize()?)
    }

    /// Returns all values as compact JSON text.
    ///
    /// # Errors
    /// [`Malformed`](SessionError::Malformed) if the stored document is damaged.
    pub fn as_json(&self) -> Result<&str, SessionError> {
        Ok(RawValue::new(self.0.text()).as_json()?)
    }

    /// Returns `true` if there are no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
