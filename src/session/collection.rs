//! Access to sessions outside of their requests.

use std::{sync::Arc, time::Instant};

use super::{
    ContentionReason, Event, SessionError, Snapshot,
    commit::back_off_delay,
    engine::Engine,
    rotation,
    state::{DecodedRecord, decode},
};
use crate::{
    id::StoreKey,
    store::{
        Expected, Expiry, ReadOutcome, Record, Tag, TagStore, Tags, TooManyTags, WriteOutcome,
        WriteRequest,
    },
};

/// The sessions of a service, by their [`StoreKey`]s: for logging out everywhere, for
/// administration and for jobs.
///
/// Clones share one store. No method locks a session, so a session may change right after it was
/// read.
///
/// ```
/// # use hyper_session::{SessionError, Sessions, session::SessionCollection};
/// # async fn handler(sessions: &Sessions) -> Result<(), SessionError> {
/// let collection: SessionCollection = sessions.collection();
/// let destroyed = collection.destroy_tagged("user-7", None).await?;
/// # let _ = destroyed; Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "Collection")]
pub struct SessionCollection(Arc<Engine>);

/// Maximum number of times that `destroy_tagged` lists sessions while new sessions are tagged.
const MAX_ROUNDS: usize = 16;

impl SessionCollection {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }

    /// Returns the data of a live session, or `None` if there is no such session or its absolute
    /// timeout has passed.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails. [`Record`](SessionError::Record) if the
    /// record is unreadable.
    pub async fn get(&self, key: &StoreKey) -> Result<Option<Snapshot>, SessionError> {
        let live = self.read(key).await?;
        Ok(live.map(|(_, decoded)| Snapshot::new(decoded.data)))
    }

    /// Destroys a session. Requests that have loaded it store no more changes.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails.
    pub async fn destroy(&self, key: &StoreKey) -> Result<(), SessionError> {
        if rotation::is_possible(&self.0) {
            rotation::destroy(Arc::clone(&self.0), *key).await?;
        } else {
            self.0.backend.store().destroy(key).await?;
        }
        self.0.emit(&Event::Destroyed { key: *key });
        Ok(())
    }

    /// Adds a tag to a live session. Returns `false` if there is no such session. The session lives as
    /// long as before.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails. [`Record`](SessionError::Record) if the
    /// record is unreadable. [`Contention`](SessionError::Contention) if other requests changed the
    /// session until the commit timeout. [`Tag`](SessionError::Tag) if the tag is empty or longer than 256
    /// bytes. [`TooManyTags`](SessionError::TooManyTags) if the session has 64 other tags.
    /// [`TagsUnsupported`](SessionError::TagsUnsupported) if the store has no index of tags.
    pub async fn tag(&self, key: &StoreKey, tag: &str) -> Result<bool, SessionError> {
        let tag = Tag::new(tag)?;
        let add = |tags: &mut Tags| tags.insert(&tag);
        self.change_tags(key, add).await
    }

    /// Removes a tag from a session. The session lives as long as before.
    ///
    /// # Errors
    /// See [`tag`](Self::tag).
    pub async fn untag(&self, key: &StoreKey, tag: &str) -> Result<(), SessionError> {
        let tag = Tag::new(tag)?;
        let remove = |tags: &mut Tags| Ok(tags.remove(&tag));
        self.change_tags(key, remove).await.map(drop)
    }

    /// Changes the tags of a live session until no other request writes it in between. `change`
    /// returns `false` if nothing is to be written. Returns `false` if there is no live session.
    async fn change_tags(
        &self,
        key: &StoreKey,
        change: impl Fn(&mut Tags) -> Result<bool, TooManyTags>,
    ) -> Result<bool, SessionError> {
        self.tag_store()?;
        let store = self.0.backend.store();
        let limit = self.0.policy.commit_timeout;
        let deadline = Instant::now() + limit;
        for conflicts in 1.. {
            let Some((
                Record {
                    data,
                    tags,
                    version,
                    ..
                },
                _,
            )) = self.read(key).await?
            else {
                return Ok(false);
            };
            let mut tags = tags;
            if !change(&mut tags)? {
                return Ok(true);
            }
            let expected = Expected::Version(version);
            let request = WriteRequest::new(key, data, Expiry::Keep, expected).tags(tags);
            match store.write(request).await? {
                WriteOutcome::Done(_) => return Ok(true),
                WriteOutcome::Gone => return Ok(false),
                WriteOutcome::Conflict(_) if Instant::now() < deadline => {
                    back_off_delay(conflicts).await;
                }
                WriteOutcome::Conflict(_) => break,
            }
        }
        Err(SessionError::Contention(ContentionReason::Timeout {
            limit,
        }))
    }

    /// Reads a live session: its record exists, is not a fence, and is within its absolute timeout.
    async fn read(&self, key: &StoreKey) -> Result<Option<(Record, DecodedRecord)>, SessionError> {
        let ReadOutcome::Found(record) = self.0.backend.store().read(key, None).await? else {
            return Ok(None);
        };
        let decoded = decode(&self.0, &record)?;
        let ttl = self
            .0
            .record_ttl(&decoded.head.lifetime, self.0.clock.now());
        let is_live = !decoded.head.is_fence && !ttl.is_zero();
        Ok(is_live.then_some((record, decoded)))
    }

    /// Returns the live sessions with a tag, in no particular order.
    ///
    /// # Errors
    /// See [`tag`](Self::tag). [`Store`](SessionError::Store) also if the store cannot list
    /// sessions.
    pub async fn tagged(&self, tag: &str) -> Result<Vec<StoreKey>, SessionError> {
        let mut keys = self.tag_store()?.tagged(&Tag::new(tag)?).await?;
        if self.0.policy.absolute_timeout.is_some() {
            let mut live = Vec::new();
            for key in keys {
                // A session whose record is unreadable can still be destroyed, so it is listed.
                if !matches!(self.read(&key).await, Ok(None)) {
                    live.push(key);
                }
            }
            keys = live;
        }
        Ok(keys)
    }

    /// Destroys every session with a tag, except the one with the key `except`. Returns the number
    /// of destroyed sessions. Use it to log a user out everywhere, or everywhere else. If a request
    /// of this process is about to give the excepted session a new id, its old and its new key are
    /// both excepted.
    ///
    /// A store that cannot list sessions, such as one in cookies, destroys those that were tagged
    /// up to this moment. It emits no [`Event::Destroyed`] for them, and the returned number is 0.
    ///
    /// # Errors
    /// See [`tag`](Self::tag). Sessions that were destroyed before the failure stay destroyed. Call
    /// it again for the others.
    ///
    /// # Concurrency
    /// A session that is regenerated during the call is destroyed under either id. A session that
    /// is tagged during the call may be missed. Requests that have loaded a destroyed session store
    /// no more changes.
    pub async fn destroy_tagged(
        &self,
        tag: &str,
        except: Option<&StoreKey>,
    ) -> Result<usize, SessionError> {
        let parsed = Tag::new(tag)?;
        let tags = self.tag_store()?;
        if let Some(destroying) = tags.destroy_tagged(&parsed, except) {
            destroying.await?;
            return Ok(0);
        }
        let mut destroyed = 0;
        // The next round finds a session that was regenerated after it was listed. Its new record
        // is written before the old id dies.
        for _ in 0..MAX_ROUNDS {
            let before = destroyed;
            let keys = tags.tagged(&parsed).await?;
            let is_excepted =
                |key| except.is_some_and(|except| self.0.pending_ids.is_same_session(key, except));
            for key in keys.iter().filter(|key| !is_excepted(key)) {
                self.destroy(key).await?;
                destroyed += 1;
            }
            if destroyed == before {
                break;
            }
        }
        Ok(destroyed)
    }

    /// Returns the number of stored sessions, or `None` if the store cannot count. It may include
    /// sessions that have expired and are not removed yet.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails.
    pub async fn count(&self) -> Result<Option<u64>, SessionError> {
        Ok(self.0.backend.store().count().await?)
    }

    fn tag_store(&self) -> Result<&dyn TagStore, SessionError> {
        self.0
            .backend
            .store()
            .tags()
            .ok_or(SessionError::TagsUnsupported)
    }
}
