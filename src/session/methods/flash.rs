//! Methods for flash messages.

use serde::{Serialize, Serializer};

use crate::{
    document::{Document, KeyPath, WritePath, with_json},
    session::{Session, SessionError, Snapshot, state::FlashPart},
};

/// # Flash messages
///
/// Flash messages are values for the next request that loads the session. The commit of that
/// request removes them, unless no visitor sees its response: for HEAD, and if a browser fetches the
/// page in advance.
impl Session {
    /// Flashes `value` under `key` (dot notation) to the next request that loads the session. Values
    /// such as `0`, `false` and `""` are kept.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.flash("success", "Your profile was saved.")?;
    /// # Ok(()) }
    /// ```
    pub fn flash<'p, V: Serialize>(
        &self,
        key: impl WritePath<'p, V>,
        value: V,
    ) -> Result<(), SessionError> {
        let key = key.into();
        with_json(&key, &value, |json| {
            let mut state = self.writable()?;
            let flashed = state.outgoing_flash(&self.engine, FlashPart::Flashed);
            Ok(flashed.put_json(&key, json)?)
        })
    }

    /// Flashes every member of an object to the next request that loads the session. Keys are
    /// literal. Objects merge recursively with the messages that were flashed before.
    ///
    /// # Errors
    /// See [`merge`](Self::merge).
    pub fn flash_many(&self, values: impl Serialize) -> Result<(), SessionError> {
        with_json(&KeyPath::root(), &values, |json| {
            let mut state = self.writable()?;
            let flashed = state.outgoing_flash(&self.engine, FlashPart::Flashed);
            Ok(flashed.merge_json(json)?)
        })
    }

    /// Flashes errors that belong to no field, such as of a payment: a message for each code. They are
    /// added to the flash message `errorsBag`. Templates show them with `error(code)` and `errors()`.
    ///
    /// # Errors
    /// See [`merge`](Self::merge).
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.flash_errors([("E_PAYMENT", "The card was declined.")])?;
    /// # Ok(()) }
    /// ```
    pub fn flash_errors<C: AsRef<str>, M: Serialize>(
        &self,
        errors: impl IntoIterator<Item = (C, M)>,
    ) -> Result<(), SessionError> {
        let errors = errors.into_iter().collect();
        self.flash_many(ErrorsBag(ErrorList(errors)))
    }

    /// Flashes all messages of this request to the next request too.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Change`](SessionError::Change) if the messages are too
    /// large.
    #[doc(alias = "keep")]
    pub fn reflash(&self) -> Result<(), SessionError> {
        self.reflash_with(|incoming| Ok(incoming.clone()))
    }

    /// Flashes the messages at these paths to the next request too.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Change`](SessionError::Change) if the messages are too
    /// large.
    pub fn reflash_only(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        self.reflash_with(|incoming| Ok(incoming.select(&keys)?))
    }

    /// Flashes the messages of this request to the next request too, except those at these paths.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Change`](SessionError::Change) if the messages are too
    /// large.
    pub fn reflash_except(&self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        self.reflash_with(|incoming| Ok(incoming.clone().except(&keys)?))
    }

    fn reflash_with(
        &self,
        select: impl FnOnce(&Document) -> Result<Document, SessionError>,
    ) -> Result<(), SessionError> {
        let mut state = self.writable()?;
        if !state.incoming_flash().is_empty() {
            let selected = select(state.incoming_flash())?;
            let reflashed = state.outgoing_flash(&self.engine, FlashPart::Reflashed);
            reflashed.replace(selected)?;
        }
        Ok(())
    }

    /// Returns the messages that the previous request flashed to this request.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    pub fn flash_messages(&self) -> Result<Snapshot, SessionError> {
        let state = self.state();
        Ok(Snapshot::new(state.readable()?.incoming_flash().clone()))
    }
}

/// The flash message with errors by code.
struct ErrorsBag<C, M>(ErrorList<C, M>);

struct ErrorList<C, M>(Vec<(C, M)>);

impl<C: AsRef<str>, M: Serialize> Serialize for ErrorsBag<C, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("errorsBag", &self.0)])
    }
}

impl<C: AsRef<str>, M: Serialize> Serialize for ErrorList<C, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let errors = self.0.iter();
        serializer.collect_map(errors.map(|(code, message)| (code.as_ref(), message)))
    }
}
