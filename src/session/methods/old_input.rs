//! Old input: what a form sent, flashed to show it again.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::document::Document;
use crate::session::{Session, SessionError};

impl Session {
    /// Remembers this request's form input, an object, so that [`flash_all`](Self::flash_all) and its
    /// kin find it. `form::Input` does it by itself; call it where the input is read by other means.
    /// The session need not be loaded.
    pub fn set_form_input(&self, input: impl Into<Arc<Value>>) {
        self.state().input = Some(input.into());
    }

    /// This request's form input, if it was read.
    pub fn form_input(&self) -> Option<Arc<Value>> {
        self.state().input.clone()
    }

    /// Flashes the form input of this request, to show it again. A later call replaces it.
    ///
    /// All fields are flashed: where there is a password among them, use
    /// [`flash_except`](Self::flash_except).
    ///
    /// # Errors
    /// [`NoInput`](SessionError::NoInput) when no input was read; as [`flash`](Self::flash) otherwise.
    pub fn flash_all(&self) -> Result<(), SessionError> {
        self.flash_all_of(&*self.own_input()?)
    }

    /// Flashes the fields of this request's input that `keys` name; the others are left out.
    ///
    /// # Errors
    /// As [`flash_all`](Self::flash_all).
    pub fn flash_only(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        self.flash_only_of(&*self.own_input()?, keys)
    }

    /// Flashes the fields of this request's input except those that `keys` name, such as passwords.
    ///
    /// # Errors
    /// As [`flash_all`](Self::flash_all).
    pub fn flash_except(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        self.flash_except_of(&*self.own_input()?, keys)
    }

    /// Flashes `input`, any serializable object, in place of this request's own input.
    ///
    /// # Errors
    /// As [`flash`](Self::flash); also when `input` is not an object.
    pub fn flash_all_of<T: Serialize + ?Sized>(&self, input: &T) -> Result<(), SessionError> {
        self.flash_input(input, |_| true)
    }

    /// Flashes the fields of `input` that `keys` name; the others are left out.
    ///
    /// # Errors
    /// As [`flash_all_of`](Self::flash_all_of).
    pub fn flash_only_of<T: Serialize + ?Sized>(
        &self,
        input: &T,
        keys: &[impl AsRef<str>],
    ) -> Result<(), SessionError> {
        self.flash_input(input, |field| keys.iter().any(|key| key.as_ref() == field))
    }

    /// Flashes the fields of `input` except those that `keys` name.
    ///
    /// # Errors
    /// As [`flash_all_of`](Self::flash_all_of).
    pub fn flash_except_of<T: Serialize + ?Sized>(
        &self,
        input: &T,
        keys: &[impl AsRef<str>],
    ) -> Result<(), SessionError> {
        self.flash_input(input, |field| !keys.iter().any(|key| key.as_ref() == field))
    }

    fn own_input(&self) -> Result<Arc<Value>, SessionError> {
        self.form_input().ok_or(SessionError::NoInput)
    }

    fn flash_input<T: Serialize + ?Sized>(
        &self,
        input: &T,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        let mut fields = Document::new();
        fields.set_limit(self.engine.policy.limits.document);
        fields.merge(input)?;
        let unwanted: Vec<String> = fields
            .keys()
            .filter(|name| !name.as_ref().is_ok_and(|name| wanted(name)))
            .map(|name| name.map(Into::into))
            .collect::<Result<_, _>>()?;
        for name in &unwanted {
            fields.forget([name.as_str()])?;
        }
        state.leaving(&self.engine).input = fields;
        Ok(())
    }
}
