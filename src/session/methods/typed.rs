//! Methods that change the fields of a whole session.

use std::sync::{Arc, Mutex};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    document::{Document, EditError, KeyPath, RawValue, apply_fields, from_document, to_json},
    patch::Update,
    session::{Session, SessionError},
};

/// # Whole sessions
impl Session {
    /// Calls `update` with [`all`](Self::all) values as a struct or a map, and stores the fields that it
    /// changed. Returns the changed values.
    ///
    /// Only what differs is stored: a field of a nested struct or map alone, an array as a whole. Values that
    /// `T` does not have stay. If nothing differs, the session is not changed.
    ///
    /// [`Typed`](crate::Typed) is a value that was loaded, with this method.
    ///
    /// # Errors
    /// See [`put`](Self::put). [`Read`](SessionError::Read) if the session is not a `T`. A new session is
    /// empty, so `T` needs a default for each field, such as by `#[serde(default)]`.
    /// [`Change`](SessionError::Change) if `T` is not an object, or if the result is not a `T`: a stored value
    /// may have an alias of the changed field as its name.
    ///
    /// # Concurrency
    /// `update` runs once. If another request changes the session at the same time, the commit stores the
    /// changed fields in the newer session. So changes of different fields are both stored. Of two changes of
    /// one field the later commit wins. If the result is not a `T` any more, the commit fails with
    /// [`Conflict`](SessionError::Conflict); an example is an enum of which both requests have chosen another
    /// variant.
    ///
    /// A change that depends on the old value, such as a sum, is one field here. Use
    /// [`increment`](Self::increment), [`push`](Self::push) or [`update`](Self::update) for it.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// #[serde(default)]
    /// struct UserSession {
    ///     theme: String,
    ///     email: Option<String>,
    /// }
    ///
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.update_all(|user: &mut UserSession| user.theme = "dark".to_owned())?;
    /// # Ok(()) }
    /// ```
    pub fn update_all<T>(&self, update: impl FnOnce(&mut T)) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        Ok(self.change_fields(update)?.0)
    }

    /// Calls `update` with all values, and stores the fields that it changed. Returns the changed values and
    /// the output of `update`.
    pub(in crate::session) fn change_fields<T, R>(
        &self,
        update: impl FnOnce(&mut T) -> R,
    ) -> Result<(T, R), SessionError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.check_writable()?;
        let mut value: T = self.all()?;
        let (mut old, mut new) = (Vec::new(), Vec::new());
        to_json(&KeyPath::root(), &value, &mut old)?;
        let output = update(&mut value);
        to_json(&KeyPath::root(), &value, &mut new)?;
        let fields = Document::changed_fields(RawValue::new(&old), RawValue::new(&new))?;
        let Some(fields) = fields else {
            return Ok((value, output));
        };
        let before = self.state().data().clone();
        check_type::<T>(&apply_fields(RawValue::new(before.text()), &fields)?)?;
        let update = fields_update::<T>(fields.clone());
        let mut state = self.writable()?;
        let (patch, data) = state.patch_and_data();
        patch.update_fields(data, RawValue::new(&fields), update)?;
        drop(state);
        Ok((value, output))
    }
}

/// Fails if the JSON text of a session with changed fields is not a `T`. It may have a field under two of
/// its names, for example.
pub(in crate::session) fn check_type<T: DeserializeOwned>(json: &[u8]) -> Result<(), EditError> {
    let fits = from_document::<T>(json).map(drop);
    fits.map_err(|source| EditError::FieldsDoNotFit { source })
}

/// Returns a function that applies a difference to the JSON text of a `T`.
fn fields_update<T: DeserializeOwned + 'static>(fields: Vec<u8>) -> Update {
    let update = move |_: &KeyPath<'_>,
                       old: Option<RawValue<'_>>,
                       out: &mut Vec<u8>|
          -> Result<(), EditError> {
        *out = apply_fields(old.unwrap_or(RawValue::new(b"{}")), &fields)?;
        check_type::<T>(out)
    };
    Arc::new(Mutex::new(update))
}
