//! Flash messages, as a handler uses them.

use serde::{Serialize, de::DeserializeOwned};

use super::{Session, SessionError, flash::overlay, state::State};
use crate::{
    changes::PatchError,
    document::{self, Document, Path},
};

impl Session {
    /// Leaves `value` under `key` (dot notation) for the next request that opens the session.
    /// Values such as `0`, `false` and `""` are kept.
    ///
    /// # Errors
    /// When the session cannot be changed, or a limit is reached.
    pub fn flash<'p, T: Serialize + ?Sized>(
        &self,
        key: impl Into<Path<'p>>,
        value: &T,
    ) -> Result<(), SessionError> {
        let limit = self.engine.policy.limits.max_document;
        self.state().with_json(value, |state, json| {
            put(&mut state.flash.leaving().others, &key.into(), json, limit)
        })
    }

    /// Leaves every member of an object for the next request that opens the session. Keys are taken
    /// literally; objects merge deeply with what was flashed before.
    ///
    /// # Errors
    /// As [`flash`](Self::flash); also when `values` is not an object.
    pub fn flash_many<T: Serialize + ?Sized>(&self, values: &T) -> Result<(), SessionError> {
        let limit = self.engine.policy.limits.max_document;
        self.state().with_json(values, |state, json| {
            let others = &mut state.flash.leaving().others;
            others.merge_within(json, limit).map_err(PatchError::from)?;
            Ok(())
        })
    }

    /// Flashes a form's input, to show it again. A later call replaces it.
    ///
    /// # Errors
    /// As [`flash`](Self::flash); also when `input` is not an object.
    pub fn flash_all<T: Serialize + ?Sized>(&self, input: &T) -> Result<(), SessionError> {
        self.flash_input(input, |_| true)
    }

    /// Flashes the fields of `input` that `keys` name; the others are left out.
    ///
    /// # Errors
    /// As [`flash_all`](Self::flash_all).
    pub fn flash_only<T: Serialize + ?Sized>(
        &self,
        input: &T,
        keys: &[impl AsRef<str>],
    ) -> Result<(), SessionError> {
        self.flash_input(input, |field| keys.iter().any(|key| key.as_ref() == field))
    }

    /// Flashes the fields of `input` except those that `keys` name, such as passwords.
    ///
    /// # Errors
    /// As [`flash_all`](Self::flash_all).
    pub fn flash_except<T: Serialize + ?Sized>(
        &self,
        input: &T,
        keys: &[impl AsRef<str>],
    ) -> Result<(), SessionError> {
        self.flash_input(input, |field| !keys.iter().any(|key| key.as_ref() == field))
    }

    fn flash_input<T: Serialize + ?Sized>(
        &self,
        input: &T,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), SessionError> {
        let limit = self.engine.policy.limits.max_document;
        self.state().with_json(input, |state, json| {
            let fields = Document::parse(json)?;
            let mut kept = Document::new();
            for (name, value) in fields.members() {
                let name = name?;
                if wanted(&name) {
                    put(&mut kept, &Path::from([&*name]), value.as_json().as_bytes(), limit)?;
                }
            }
            state.flash.leaving().input = kept;
            Ok(())
        })
    }

    /// Keeps all messages that came with this request for the next one too.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn reflash(&self) -> Result<(), SessionError> {
        self.reflash_with(|arrived| Ok(arrived.clone()))
    }

    /// Keeps the messages at these paths for the next request too.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn reflash_only(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        let limit = self.engine.policy.limits.max_document;
        self.reflash_with(|arrived| {
            let mut kept = Document::new();
            for key in keys.iter().map(AsRef::as_ref) {
                let literal = arrived.get(&Path::from([key]))?;
                let path = if literal.is_some() { Path::from([key]) } else { Path::from(key) };
                if let Some(value) = arrived.get(&path)? {
                    put(&mut kept, &path, value.as_json().as_bytes(), limit)?;
                }
            }
            Ok(kept)
        })
    }

    /// Keeps the messages for the next request too, except those at these paths.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn reflash_except(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        self.reflash_with(|arrived| {
            let mut kept = arrived.clone();
            for key in keys {
                kept.forget(&Path::from(key.as_ref())).map_err(PatchError::from)?;
            }
            Ok(kept)
        })
    }

    fn reflash_with(
        &self,
        pick: impl FnOnce(&Document) -> Result<Document, SessionError>,
    ) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        if !state.flash.arrived.is_empty() {
            let kept = pick(&state.flash.arrived)?;
            state.flash.leaving().reflashed = kept;
        }
        Ok(())
    }

    /// The messages that the request before left for this one.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn flash_messages(&self) -> Result<FlashMessages, SessionError> {
        Ok(FlashMessages(self.state().readable()?.flash.arrived.clone()))
    }
}

fn put(onto: &mut Document, path: &Path<'_>, json: &[u8], limit: usize) -> Result<(), SessionError> {
    onto.put_within(path, json, limit).map_err(PatchError::from)?;
    Ok(())
}

/// The flash messages that came with this request.
#[derive(Clone, Debug, Default)]
pub struct FlashMessages(Document);

impl FlashMessages {
    /// The message at `path` (dot notation), or `None` where there is nothing or null.
    ///
    /// # Errors
    /// When the message is not a `T`.
    pub fn get<'p, T: DeserializeOwned>(
        &self,
        path: impl Into<Path<'p>>,
    ) -> Result<Option<T>, SessionError> {
        let found = self.0.get(&path.into())?.filter(|value| !value.is_null());
        found.map(|value| Ok(value.to()?)).transpose()
    }

    /// Whether there is a message other than null at `path`.
    pub fn has<'p>(&self, path: impl Into<Path<'p>>) -> bool {
        self.0.has(&path.into()).unwrap_or(false)
    }

    /// All messages, as an object.
    ///
    /// # Errors
    /// When they do not fit `T`.
    pub fn all<T: DeserializeOwned>(&self) -> Result<T, SessionError> {
        Ok(self.0.to()?)
    }

    /// Whether no message came.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
