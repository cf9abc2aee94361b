//! A session's contents, or its flash messages, as they stood at one moment.

use serde::Deserialize;

use super::SessionError;
use crate::document::{Document, KeyPath, RawValue};

/// Contents as they stood when they were asked for. Values can be borrowed out of it.
///
/// Taking one copies nothing where the session was not changed before.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Document);

impl Snapshot {
    pub(super) const fn new(document: Document) -> Self {
        Self(document)
    }

    /// The value at `path`, or `None` where there is nothing or null. A `&str` without escapes is
    /// borrowed.
    ///
    /// # Errors
    /// When the value there is not a `T`.
    pub fn get<'a, 'p, T: Deserialize<'a>>(
        &'a self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<T>, SessionError> {
        let found = self.0.get(path)?.filter(|value| !value.is_null());
        found.map(|value| Ok(value.deserialize()?)).transpose()
    }

    /// The JSON text of the value at `path`, null included.
    ///
    /// # Errors
    /// When the stored contents are damaged.
    pub fn get_raw<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<RawValue<'_>>, SessionError> {
        Ok(self.0.get(path)?)
    }

    /// Whether there is a value other than null at `path`.
    ///
    /// # Errors
    /// When the stored contents are damaged.
    pub fn has<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<bool, SessionError> {
        Ok(self.0.has(path)?)
    }

    /// Everything, as an object: a map, or a struct of your own.
    ///
    /// # Errors
    /// When it does not fit `T`.
    pub fn all<T: serde::de::DeserializeOwned>(&self) -> Result<T, SessionError> {
        Ok(self.0.deserialize()?)
    }

    /// Everything, as compact JSON text.
    ///
    /// # Errors
    /// When the stored contents are damaged.
    pub fn as_json(&self) -> Result<&str, SessionError> {
        Ok(RawValue::new(self.0.text()).as_json()?)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
