//! Methods that flash form input.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::{
    document::{Document, EditError},
    session::{Session, SessionError, state::FlashPart},
};

/// # Forms
///
/// Form input that is flashed can be shown again on the next page ("old input"). The fields in
/// [`secret_fields`](crate::SessionConfig#structfield.secret_fields) are always left out.
impl Session {
    /// Sets the form input of this request, an object, for [`flash_all`](Self::flash_all),
    /// [`flash_only`](Self::flash_only) and [`flash_except`](Self::flash_except).
    ///
    /// `form::Input` calls this itself. Call it if you read the input in another way. The session
    /// need not be loaded.
    pub fn set_form_input(&self, input: impl Into<Arc<Value>>) {
        let input = input.into();
        self.state().set_form_input(input);
    }

    /// Returns the form input of this request, if it was read.
    pub fn form_input(&self) -> Option<Arc<Value>> {
        self.state().form_input().cloned()
    }

    /// Flashes all fields of this request's form input. A later call replaces the flashed input.
    ///
    /// If one of the fields is a password, add it to
    /// [`secret_fields`](crate::SessionConfig#structfield.secret_fields), or call
    /// [`flash_except`](Self::flash_except) instead.
    ///
    /// # Errors
    /// [`NoInput`](SessionError::NoInput) if no input was read. Otherwise see
    /// [`flash`](Self::flash).
    #[doc(alias = "flashAll")]
    pub fn flash_all(&self) -> Result<(), SessionError> {
        self.flash_all_of(&*self.required_input()?)
    }

    /// Flashes only the fields of this request's form input at these paths (dot notation).
    ///
    /// # Errors
    /// See [`flash_all`](Self::flash_all).
    pub fn flash_only(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        self.flash_only_of(&*self.required_input()?, keys)
    }

    /// Flashes the fields of this request's form input except those at these paths, for example
    /// passwords.
    ///
    /// `user.password` leaves out the field `password` of `user`, and also fields whose literal name is
    /// `user.password` or `user[password]`. `passwords[]` leaves out all fields of that name.
    ///
    /// # Errors
    /// See [`flash_all`](Self::flash_all).
    pub fn flash_except(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        self.flash_except_of(&*self.required_input()?, keys)
    }

    /// Flashes all fields of `input`, a serializable object, instead of this request's form input.
    ///
    /// # Errors
    /// See [`merge`](Self::merge).
    pub fn flash_all_of(&self, input: impl Serialize) -> Result<(), SessionError> {
        self.flash_input(&input, Ok)
    }

    /// Flashes only the fields of `input` at these paths. See [`flash_only`](Self::flash_only).
    ///
    /// # Errors
    /// See [`merge`](Self::merge).
    pub fn flash_only_of(
        &self,
        input: impl Serialize,
        keys: &[impl AsRef<str>],
    ) -> Result<(), SessionError> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        self.flash_input(&input, |fields| fields.select(&keys))
    }

    /// Flashes the fields of `input` except those at these paths. See
    /// [`flash_except`](Self::flash_except).
    ///
    /// # Errors
    /// See [`merge`](Self::merge).
    pub fn flash_except_of(
        &self,
        input: impl Serialize,
        keys: &[impl AsRef<str>],
    ) -> Result<(), SessionError> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        self.flash_input(&input, |fields| Ok(fields.except(&keys)?))
    }

    fn required_input(&self) -> Result<Arc<Value>, SessionError> {
        self.form_input().ok_or(SessionError::NoInput)
    }

    fn flash_input(
        &self,
        input: &impl Serialize,
        select: impl FnOnce(Document) -> Result<Document, EditError>,
    ) -> Result<(), SessionError> {
        let mut fields = Document::new();
        fields.merge(input)?;
        let mut selected = select(fields)?;
        let secret_fields = &self.engine.policy.secret_fields;
        if !secret_fields.is_empty() {
            selected = selected.without_names(secret_fields)?;
        }
        let mut state = self.writable()?;
        let flashed = state.outgoing_flash(&self.engine, FlashPart::Input);
        Ok(flashed.replace(selected)?)
    }
}
