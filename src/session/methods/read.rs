//! Reading a session.

use std::sync::MutexGuard;

use serde::de::DeserializeOwned;

use crate::session::{
    Session, SessionError, Snapshot,
    state::{Phase, State},
};
use crate::{
    document::KeyPath,
    id::{SessionId, StoreKey},
};

impl Session {
    /// The value at `path`, or `None` where there is nothing or null.
    ///
    /// `path` is text in dot notation (`user.email`, `items.0.name`, `items[0]["a.b"]`) or a list
    /// of keys taken literally (`["a.b", "c"]`).
    ///
    /// # Errors
    /// When the session is not loaded, or the value there is not a `T`.
    pub fn get<'p, T: DeserializeOwned>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<T>, SessionError> {
        let state = self.state();
        let found = state.readable()?.data.get(path)?;
        found
            .filter(|value| !value.is_null())
            .map(|value| Ok(value.deserialize()?))
            .transpose()
    }

    /// The value at `path`, or `default` where there is nothing or null.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_or<'p, T: DeserializeOwned>(
        &self,
        path: impl Into<KeyPath<'p>>,
        default: T,
    ) -> Result<T, SessionError> {
        Ok(self.get(path)?.unwrap_or(default))
    }

    /// The session as it stands now, to borrow values out of it. FlashState messages are not in it.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn snapshot(&self) -> Result<Snapshot, SessionError> {
        Ok(Snapshot::new(self.state().readable()?.data.clone()))
    }

    /// Whether there is a value other than null at `path`. `0`, `false`, `""` and `[]` are there.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn has<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<bool, SessionError> {
        Ok(self.state().readable()?.data.has(path)?)
    }

    /// The whole session, as an object: a map, or a struct of your own. FlashState messages are not in it.
    ///
    /// # Errors
    /// When the session is not loaded, or does not fit `T`.
    pub fn all<T: DeserializeOwned>(&self) -> Result<T, SessionError> {
        Ok(self.state().readable()?.data.deserialize()?)
    }

    /// Whether the session holds nothing. FlashState messages do not count.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn is_empty(&self) -> Result<bool, SessionError> {
        Ok(self.state().readable()?.data.is_empty())
    }

    /// The secret id. It stays the same until the session expires, is destroyed or regenerated.
    ///
    /// # Errors
    /// [`EntropyError`](SessionError::EntropyError) when a new id was needed and could not be made.
    pub fn id(&self) -> Result<SessionId, SessionError> {
        let mut state = self.identified();
        Ok(state.identity.ensure()?.clone())
    }

    /// The name under which stores and [`SessionCollection`](super::SessionCollection) know this session. It is
    /// not secret.
    ///
    /// # Errors
    /// As [`id`](Self::id).
    pub fn store_key(&self) -> Result<StoreKey, SessionError> {
        let mut state = self.identified();
        Ok(state.identity.ensure_key()?)
    }

    /// Whether the id is new: the request carried none of ours, or a dead one.
    ///
    /// Before `load`, an id that is dead in the store is not yet known to be.
    pub fn is_fresh(&self) -> bool {
        let state = self.identified();
        !state.identity.carried && !state.continued
    }

    pub(in crate::session) fn identified(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.accessed = true;
        state.identity.look_up(&self.engine);
        state
    }

    /// Whether the session was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.state().phase == Phase::ReadOnly
    }

    /// Whether the session has been opened.
    pub fn is_loaded(&self) -> bool {
        !matches!(self.state().phase, Phase::Unloaded | Phase::Failed)
    }

    /// Whether this request changed something that is not committed yet: any successful change
    /// counts, also one that made no difference.
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Whether [`regenerate`](Self::regenerate) gave this session a new id in this request.
    pub fn has_regenerated(&self) -> bool {
        self.state().regenerated
    }
}
