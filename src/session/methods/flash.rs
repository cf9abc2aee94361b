//! FlashState messages, as a handler uses them.

use serde::Serialize;

use crate::document::{Document, KeyPath};
use crate::session::{
    Session, SessionError, Snapshot,
    engine::Engine,
    state::{OutgoingFlash, State},
};

impl Session {
    /// Leaves `value` under `key` (dot notation) for the next request that opens the session.
    /// Values such as `0`, `false` and `""` are kept.
    ///
    /// # Errors
    /// When the session cannot be changed, or a limit is reached.
    pub fn flash<'p, T: Serialize + ?Sized>(
        &self,
        key: impl Into<KeyPath<'p>>,
        value: &T,
    ) -> Result<(), SessionError> {
        let mut guard = self.state();
        guard
            .writable()?
            .leaving(&self.engine)
            .others
            .put(key, value)?;
        Ok(())
    }

    /// Leaves every member of an object for the next request that opens the session. Keys are taken
    /// literally; objects merge deeply with what was flashed before.
    ///
    /// # Errors
    /// As [`flash`](Self::flash); also when `values` is not an object.
    pub fn flash_many<T: Serialize + ?Sized>(&self, values: &T) -> Result<(), SessionError> {
        let mut guard = self.state();
        guard
            .writable()?
            .leaving(&self.engine)
            .others
            .merge(values)?;
        Ok(())
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
        self.reflash_with(|arrived| {
            let mut kept = Document::new();
            for key in keys.iter().map(AsRef::as_ref) {
                let literal = arrived.get([key])?.is_some();
                let path = if literal {
                    KeyPath::from([key])
                } else {
                    KeyPath::from(key)
                };
                if let Some(value) = arrived.get(&path)? {
                    kept.put_json(&path, value)?;
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
                kept.forget(key.as_ref())?;
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
            state.leaving(&self.engine).reflashed = kept;
        }
        Ok(())
    }

    /// The messages that the request before left for this one.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn flash_messages(&self) -> Result<Snapshot, SessionError> {
        Ok(Snapshot::new(
            self.state().readable()?.flash.arrived.clone(),
        ))
    }
}

impl State {
    /// The messages to leave for the next request, within the limit for the session.
    pub(in crate::session) fn leaving(&mut self, engine: &Engine) -> &mut OutgoingFlash {
        let leaving = self.flash.leaving();
        leaving.others.set_limit(engine.policy.limits.document);
        leaving
    }
}
