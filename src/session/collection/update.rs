//! Changes of sessions outside of their requests.

use std::time::Instant;

use serde::{Serialize, de::DeserializeOwned};

use super::{LiveSession, RegenerationState, SessionCollection};
use crate::{
    document::{Document, KeyPath, RawValue, ReadPath, from_document, to_json},
    id::StoreKey,
    session::{
        ContentionReason, Event, SessionError,
        commit::{MAX_CONFLICT_SHIFT, pause},
        methods::check_type,
        state::DecodedRecord,
    },
    store::{Expected, Expiry, WriteOutcome, WriteRequest},
};

/// The longest pause of a wait for a new id is 2 to this power in milliseconds.
const MAX_WAIT_SHIFT: u32 = 8;

/// # Changes
///
/// A change reads the session, applies itself, and writes the session if nothing else has written it since.
/// Otherwise it begins again, so it loses no change of a request, and no request loses it. The session lives
/// as long as before, and counts as seen when its visitor was last seen.
///
/// If a request is giving the session a new id, a change under the key of the new id waits for the end of the request's
/// commit. It fails with [`NewId`](ContentionReason::NewId) if the session does not get that id until the commit timeout,
/// for example because the process of the request ended.
///
/// `None` does not always mean that the session has ended. During a migration
/// [from cookies](crate::store::MigratingStore#migrating-from-cookies), the session may be in its cookie still.
impl SessionCollection {
    /// Calls `update` with the value at `path` of a live session, and stores the changed value. A missing value
    /// and null count as `T::default()`. Returns the new value, or `None` if there is no such session.
    ///
    /// # Errors
    /// [`Read`](SessionError::Read) if the value is not a `T`. [`Change`](SessionError::Change) if a limit is
    /// exceeded or the value has no JSON form. [`Store`](SessionError::Store) if the store fails.
    /// [`Record`](SessionError::Record) if the record is unreadable.
    /// [`Contention`](SessionError::Contention) if requests changed the session until the commit timeout, or with
    /// [`NewId`](ContentionReason::NewId) if it did not get the new id for which the change waited.
    ///
    /// # Concurrency
    /// `update` runs once for each attempt, so it must have no side effects.
    ///
    /// ```
    /// # use hyper_session::{SessionCollection, SessionError, StoreKey};
    /// # async fn job(collection: &SessionCollection, key: &StoreKey) -> Result<(), SessionError> {
    /// let unread = collection.update(key, "unread", |unread: &mut u32| *unread += 1).await?;
    /// # let _ = unread; Ok(()) }
    /// ```
    pub async fn update<'p, T>(
        &self,
        key: &StoreKey,
        path: impl ReadPath<'p, T>,
        mut update: impl FnMut(&mut T),
    ) -> Result<Option<T>, SessionError>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let path = &path.into();
        let mut updated = None;
        let change = |session: &mut DecodedRecord| {
            let old = session
                .data
                .get_path(path)?
                .filter(|value| !value.is_null());
            let mut value: T = old
                .map(RawValue::deserialize)
                .transpose()?
                .unwrap_or_default();
            update(&mut value);
            let mut json = Vec::new();
            to_json(path, &value, &mut json)?;
            session.data.put_json(path, RawValue::new(&json))?;
            updated = Some(value);
            Ok(true)
        };
        let live_key = self.change(key, change).await?;
        self.emit_committed(live_key);
        Ok(updated.filter(|_| live_key.is_some()))
    }

    /// Calls `update` with all values of a live session as a struct or a map, and stores the fields that it
    /// changed. Returns the changed values, or `None` if there is no such session.
    ///
    /// # Errors
    /// See [`update`](Self::update). [`Change`](SessionError::Change) also if the result is not a `T`.
    ///
    /// # Concurrency
    /// See [`update`](Self::update).
    pub async fn update_all<T>(
        &self,
        key: &StoreKey,
        mut update: impl FnMut(&mut T),
    ) -> Result<Option<T>, SessionError>
    where
        T: Serialize + DeserializeOwned,
    {
        let (mut updated, mut is_written) = (None, false);
        let change = |session: &mut DecodedRecord| {
            let mut value: T = from_document(session.data.text())?;
            let (mut old, mut new) = (Vec::new(), Vec::new());
            to_json(&KeyPath::root(), &value, &mut old)?;
            update(&mut value);
            to_json(&KeyPath::root(), &value, &mut new)?;
            let fields = Document::changed_fields(RawValue::new(&old), RawValue::new(&new))?;
            if let Some(fields) = &fields {
                session.data.put_fields(RawValue::new(fields))?;
                check_type::<T>(session.data.text())?;
            }
            updated = Some(value);
            is_written = fields.is_some();
            Ok(is_written)
        };
        let live_key = self.change(key, change).await?;
        self.emit_committed(live_key.filter(|_| is_written));
        Ok(updated.filter(|_| live_key.is_some()))
    }

    /// Changes a live session until no other request writes it in between. `change` returns `false` if
    /// nothing is to be written. Returns the key under which the session is stored, or `None` if there is no
    /// live session.
    pub(super) async fn change(
        &self,
        key: &StoreKey,
        mut change: impl FnMut(&mut DecodedRecord) -> Result<bool, SessionError>,
    ) -> Result<Option<StoreKey>, SessionError> {
        let limit = self.0.policy.commit_timeout;
        let deadline = Instant::now() + limit;
        let mut reason = ContentionReason::Timeout { limit };
        for conflicts in 1.. {
            let Some(live) = self.read(key).await? else {
                return Ok(None);
            };
            let mut max_shift = MAX_CONFLICT_SHIFT;
            match self.regeneration_state(&live).await? {
                RegenerationState::Ended | RegenerationState::Fenced(_) => {
                    let changed = self.write_change(live, &mut change).await?;
                    if let Some(outcome) = changed {
                        return Ok(outcome);
                    }
                    reason = ContentionReason::Timeout { limit };
                }
                RegenerationState::Lost => return Ok(None),
                // The regeneration may write the record again, and would overwrite the change.
                RegenerationState::OldFound | RegenerationState::OldMissing => {
                    reason = ContentionReason::NewId { limit };
                    max_shift = MAX_WAIT_SHIFT;
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            pause(conflicts, max_shift).await;
        }
        Err(SessionError::Contention(reason))
    }

    /// Applies a change to a session that was read, and writes it. Returns the result of
    /// [`change`](Self::change), or `None` if something else has written the session meanwhile.
    async fn write_change(
        &self,
        live: LiveSession,
        change: &mut impl FnMut(&mut DecodedRecord) -> Result<bool, SessionError>,
    ) -> Result<Option<Option<StoreKey>>, SessionError> {
        let engine = &*self.0;
        let mut session = live.session;
        session.set_limits(engine);
        if !change(&mut session)? {
            return Ok(Some(Some(live.key)));
        }
        let stored = session.encode(engine).record;
        let expected = Expected::Version(live.version);
        let request = WriteRequest::new(&live.key, stored.data, Expiry::Keep, expected);
        let written = engine.backend.store().write(request.tags(stored.tags));
        Ok(match written.await? {
            WriteOutcome::Done(_) => Some(Some(live.key)),
            WriteOutcome::Gone => Some(None),
            WriteOutcome::Conflict(_) => None,
        })
    }

    fn emit_committed(&self, key: Option<StoreKey>) {
        if let Some(key) = key {
            self.0.emit(&Event::Committed { key });
        }
    }
}
