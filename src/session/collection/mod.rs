//! Access to sessions outside of their requests.

mod list;
mod update;

use std::sync::Arc;

pub use self::list::{SessionInfo, SessionScan};
use super::{
    Event, SessionError, Snapshot,
    engine::Engine,
    rotation,
    state::{DecodedRecord, decode},
};
use crate::{
    id::StoreKey,
    store::{ReadOutcome, Tag, TagStore, Tags, TooManyTags, Version},
};

/// The sessions of a service, by their [`StoreKey`]s: for logging out everywhere, for
/// administration and for jobs.
///
/// Clones share one store. No method locks a session, so a session may change right after it was
/// read.
///
/// A key that was replaced by [`rotate_id`](super::Session::rotate_id) leads to its session until the grace
/// window ends; [`current_key`](Self::current_key) returns the new key. After
/// [`regenerate`](super::Session::regenerate) it leads to none.
///
/// During a migration [from cookies](crate::store::MigratingStore#migrating-from-cookies), a session that is still
/// in its cookie is not found.
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

/// A live session as it was read.
struct LiveSession {
    /// The key under which it is stored.
    key: StoreKey,
    version: Version,
    session: DecodedRecord,
}

/// Maximum number of rotations that a read follows.
const MAX_FORWARDS: usize = 2;

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
        Ok(live.map(|live| Snapshot::new(live.session.data)))
    }

    /// Returns the key under which a live session is stored now, or `None` if there is no such session. It
    /// differs from `key` if the session was rotated.
    ///
    /// A task that keeps a key calls this more often than the grace window of
    /// [`rotate_id`](super::Session::rotate_id) lasts, for example a WebSocket.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    ///
    /// ```
    /// # use hyper_session::{SessionCollection, SessionError, StoreKey};
    /// # async fn task(collection: &SessionCollection, mut key: StoreKey) -> Result<(), SessionError> {
    /// while let Some(current) = collection.current_key(&key).await? {
    ///     key = current;
    ///     // Wait for a message or for half of the grace window, then change the session.
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn current_key(&self, key: &StoreKey) -> Result<Option<StoreKey>, SessionError> {
        Ok(self.read(key).await?.map(|live| live.key))
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

    async fn change_tags(
        &self,
        key: &StoreKey,
        change: impl Fn(&mut Tags) -> Result<bool, TooManyTags>,
    ) -> Result<bool, SessionError> {
        self.tag_store()?;
        let change = |session: &mut DecodedRecord| Ok(change(&mut session.tags)?);
        Ok(self.change(key, change).await?.is_some())
    }

    /// Reads a live session: its record exists, is not a fence, and is within its absolute timeout. Follows
    /// the fences of rotations.
    async fn read(&self, key: &StoreKey) -> Result<Option<LiveSession>, SessionError> {
        let mut key = *key;
        for _ in 0..=MAX_FORWARDS {
            let ReadOutcome::Found(record) = self.0.backend.store().read(&key, None).await? else {
                return Ok(None);
            };
            let session = decode(&self.0, &record)?;
            if !session.head.is_fence {
                let now = self.0.clock.now();
                let live = LiveSession {
                    key,
                    version: record.version,
                    session,
                };
                let has_ended = self.0.has_ended(&live.session.head.lifetime, now);
                return Ok((!has_ended).then_some(live));
            }
            let Some(forward) = rotation::forward(&self.0, &key, &record.data) else {
                return Ok(None);
            };
            key = forward.id.store_key();
        }
        Ok(None)
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
    /// both excepted. After a rotation, the old key excepts the session during the grace window.
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
            let current = self.current_exception(except).await?;
            let is_excepted = |key| {
                let same = |except| self.0.pending_ids.is_same_session(key, except);
                except.is_some_and(same) || current.as_ref().is_some_and(same)
            };
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

    /// Returns the key under which the session with the key `except` is stored now: another one after a
    /// rotation. An unreadable session has no other key.
    async fn current_exception(
        &self,
        except: Option<&StoreKey>,
    ) -> Result<Option<StoreKey>, SessionError> {
        let Some(except) = except else {
            return Ok(None);
        };
        match self.current_key(except).await {
            Err(SessionError::Store(error)) if !error.is_unreadable() => {
                Err(SessionError::Store(error))
            }
            current => Ok(current.ok().flatten()),
        }
    }

    /// Returns an upper bound of the number of sessions, or `None` if the store cannot count. The memory store
    /// and the file store count. The Redis, cookie and migrating stores do not.
    ///
    /// The number includes expired records that the store has not removed yet, and the fence that replaces a
    /// record for a short time after `rotate_id` or `regenerate`. [`scan`](Self::scan) visits the sessions alone.
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
