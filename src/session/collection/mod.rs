//! Access to sessions outside of their requests.

mod list;
mod update;

use std::{collections::BTreeSet, sync::Arc};

pub use self::list::{SessionInfo, SessionScan};
use super::{
    Event, SessionError, Snapshot,
    engine::Engine,
    rotation::{self, MARGIN},
    state::{DecodedRecord, decode},
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{ReadOutcome, Tag, TagStore, Tags, TooManyTags, Version},
    wire::PendingMark,
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
    mark: Option<PendingMark>,
}

/// The state of the regeneration that stored a record.
enum RegenerationState {
    /// The record has no pending mark, or one that is older than any running regeneration. Or nothing is stored
    /// under the old id, and the fence would have followed by now.
    Ended,
    /// The fence under this old key names the record.
    Fenced(StoreKey),
    /// The session has its old id, or one that another rotation gave it. The regeneration starts from that.
    OldFound,
    /// Nothing is stored under the old id, or a fence that names no new id. The session was destroyed, or was never
    /// stored.
    OldMissing,
    /// Another regeneration was faster, so this record is destroyed.
    Lost,
}

impl RegenerationState {
    /// Returns `true` if the session does not have the id of the record, which is thus no session.
    const fn is_hidden(&self) -> bool {
        matches!(self, Self::OldFound | Self::Lost)
    }

    /// Returns the state if nothing is stored under the old id.
    fn without_old(written: Timestamp, now: Timestamp) -> Self {
        // Without an old record, nothing is merged: the fence follows the new record at once, and lives longer than
        // the margin. So it has expired, or the old key was destroyed after it.
        if written.saturating_add(MARGIN) <= now {
            Self::Ended
        } else {
            Self::OldMissing
        }
    }
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
    /// timeout has passed. A session that is getting a new id is found under its old key until it has the new one.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails. [`Record`](SessionError::Record) if the
    /// record is unreadable.
    pub async fn get(&self, key: &StoreKey) -> Result<Option<Snapshot>, SessionError> {
        let live = self.read_current(key).await?;
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
        Ok(self.read_current(key).await?.map(|live| live.key))
    }

    /// Destroys a session. Requests that have loaded it store no more changes. If a request is giving the session a new
    /// id, either key ends it. Does nothing if the session has a new id already and the old one does not forward to it.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails. If only the removal of the record fails, the session has
    /// ended, and [`Event::Destroyed`] is emitted.
    pub async fn destroy(&self, key: &StoreKey) -> Result<(), SessionError> {
        self.end(key).await.map(drop)
    }

    /// Destroys a session. Returns `false` if it had ended before, or has another id.
    async fn end(&self, key: &StoreKey) -> Result<bool, SessionError> {
        if rotation::is_possible(&self.0) {
            return Ok(rotation::destroy(Arc::clone(&self.0), *key).await?);
        }
        self.0.backend.store().destroy(key).await?;
        self.0.emit(&Event::Destroyed { key: *key });
        Ok(true)
    }

    /// Adds a tag to a live session. Returns `false` if there is no such session. The session lives as
    /// long as before.
    ///
    /// If a request is giving the session a new id, and `key` is that of the new id, the call waits for the end of the
    /// request's commit.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails. [`Record`](SessionError::Record) if the
    /// record is unreadable. [`Contention`](SessionError::Contention) if other requests changed the
    /// session until the commit timeout, or with [`NewId`](super::ContentionReason::NewId) if the session did not get
    /// the new id until then. [`Tag`](SessionError::Tag) if the tag is empty or longer than 256
    /// bytes. [`TooManyTags`](SessionError::TooManyTags) if the session has 64 other tags.
    /// [`TagsUnsupported`](SessionError::TagsUnsupported) if the store has no index of tags.
    pub async fn tag(&self, key: &StoreKey, tag: &str) -> Result<bool, SessionError> {
        let tag = Tag::new(tag)?;
        let add = |tags: &mut Tags| tags.insert(&tag);
        self.change_tags(key, add).await
    }

    /// Removes a tag from a session. The session lives as long as before. For the key of a new id, it waits like
    /// [`tag`](Self::tag).
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
                    mark: self.0.format.pending_mark(&record.data),
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

    /// Reads a live session. Does not find the record of a new id that its session does not have yet.
    async fn read_current(&self, key: &StoreKey) -> Result<Option<LiveSession>, SessionError> {
        let Some(live) = self.read(key).await? else {
            return Ok(None);
        };
        match self.regeneration_state(&live).await? {
            // The regeneration may have written the record again before the fence.
            RegenerationState::Fenced(_) => self.read(&live.key).await,
            state => Ok((!state.is_hidden()).then_some(live)),
        }
    }

    /// Returns how far the regeneration is that stored this record. It writes the fence at once after the record,
    /// or merges a newer old record until the commit timeout.
    async fn regeneration_state(
        &self,
        live: &LiveSession,
    ) -> Result<RegenerationState, SessionError> {
        let Some(mark) = self.recent_mark(live) else {
            return Ok(RegenerationState::Ended);
        };
        let now = self.0.clock.now();
        let old = self.0.backend.store().read(&mark.from, None).await?;
        let format = &self.0.format;
        let ReadOutcome::Found(old) = old else {
            return Ok(RegenerationState::without_old(mark.written, now));
        };
        if !format
            .decode_head(&old.data)
            .is_ok_and(|head| head.is_fence)
        {
            return Ok(RegenerationState::OldFound);
        }
        // A regeneration continues from the new id of a rotation, whether or not its window has ended.
        let forwards = || format.open_forward(&mark.from, &old.data).is_some();
        Ok(match format.fence_names(&old.data, &live.key) {
            Some(true) => RegenerationState::Fenced(mark.from),
            Some(false) if !forwards() => RegenerationState::Lost,
            Some(false) => RegenerationState::OldFound,
            // Something that destroyed the old key stored this fence.
            None => RegenerationState::without_old(mark.written, now),
        })
    }

    /// Returns the pending mark of a record, unless it is older than any running regeneration and its fence.
    fn recent_mark<'l>(&self, live: &'l LiveSession) -> Option<&'l PendingMark> {
        let policy = &self.0.policy;
        let now = self.0.clock.now();
        let max_age = policy.fence_ttl + policy.commit_timeout + MARGIN;
        live.mark.as_ref().filter(|mark| {
            // A time in the future comes from a clock that ran fast.
            let is_future = now.saturating_add(MARGIN) < mark.written;
            !is_future && now < mark.written.saturating_add(max_age)
        })
    }

    /// Returns the live sessions with a tag, in no particular order.
    ///
    /// A session that is getting a new id may have two keys for a moment. If its request is interrupted, the session
    /// keeps the old key, and the record under the new key stays until it expires.
    ///
    /// # Errors
    /// See [`tag`](Self::tag). [`Store`](SessionError::Store) also if the store cannot list
    /// sessions.
    pub async fn tagged(&self, tag: &str) -> Result<Vec<StoreKey>, SessionError> {
        let (tags, tag) = (self.tag_store()?, Tag::new(tag)?);
        if self.0.policy.absolute_timeout.is_none() {
            return Ok(tags.tagged(&tag).await?);
        }
        let (mut live, mut visited) = (Vec::new(), BTreeSet::new());
        for _ in 0..MAX_ROUNDS {
            let before = live.len();
            let keys = self.tagged_since(&tag, &mut visited).await?;
            let listed = keys.len();
            for key in keys {
                // A session whose record is unreadable can still be destroyed, so it is listed.
                if !matches!(self.read(&key).await, Ok(None)) {
                    live.push(key);
                }
            }
            if live.len() - before == listed {
                break;
            }
        }
        Ok(live)
    }

    /// Returns the keys with a tag that were not visited yet, and adds them to `visited`. If there is no session any
    /// more under one of them, the caller calls this again: the session may have got a new id.
    async fn tagged_since(
        &self,
        tag: &Tag,
        visited: &mut BTreeSet<StoreKey>,
    ) -> Result<Vec<StoreKey>, SessionError> {
        let mut keys = self.tag_store()?.tagged(tag).await?;
        keys.retain(|key| visited.insert(*key));
        Ok(keys)
    }

    /// Destroys every session with a tag, except the one with the key `except`. Returns the number
    /// of destroyed sessions. Use it to log a user out everywhere, or everywhere else. If a request
    /// is giving the excepted session a new id, either key excepts it. After a rotation, the old key excepts the
    /// session during the grace window. A destroyed session that was getting a new id counts twice.
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
            let mut is_last = true;
            let keys = tags.tagged(&parsed).await?;
            let excepted = match except {
                Some(except) => self.keys_of_session(except).await?,
                None => Vec::new(),
            };
            for key in &keys {
                if !self.is_excepted(key, &excepted).await? {
                    is_last = false;
                    destroyed += usize::from(self.end(key).await?);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(destroyed)
    }

    /// Returns `true` if a key belongs to the session with the keys `excepted`.
    async fn is_excepted(
        &self,
        key: &StoreKey,
        excepted: &[StoreKey],
    ) -> Result<bool, SessionError> {
        let pending = &self.0.pending_ids;
        let is_same = |key: &StoreKey| excepted.iter().any(|it| pending.is_same_session(key, it));
        if excepted.is_empty() || is_same(key) {
            return Ok(!excepted.is_empty());
        }
        // Another request may be giving one of these ids to another session.
        let keys = self.keys_of_session(key).await?;
        Ok(keys.iter().any(|key| excepted.contains(key)))
    }

    /// Returns the keys of the session with this key: this one, the one that a rotation gave it, and those that it
    /// had before if a request is giving it a new id. An unreadable session has no other key.
    async fn keys_of_session(&self, key: &StoreKey) -> Result<Vec<StoreKey>, SessionError> {
        let mut keys = vec![*key];
        let Some(live) = if_readable(self.read(key).await)?.flatten() else {
            // A request of this process may store the session under this id later.
            if let Some(old) = self.0.pending_ids.old_key(key) {
                let old = if_readable(self.read(&old).await)?.flatten();
                keys.extend(old.map(|old| old.key));
            }
            return Ok(keys);
        };
        keys.push(live.key);
        let Some(mark) = self.recent_mark(&live) else {
            return Ok(keys);
        };
        let state = if_readable(self.regeneration_state(&live).await)?;
        if !matches!(
            state,
            Some(RegenerationState::Ended | RegenerationState::Lost)
        ) {
            keys.push(mark.from);
            let old = if_readable(self.read(&mark.from).await)?.flatten();
            keys.extend(old.map(|old| old.key));
        }
        Ok(keys)
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

/// Returns `None` if a record is unreadable.
fn if_readable<T>(read: Result<T, SessionError>) -> Result<Option<T>, SessionError> {
    match read {
        Err(SessionError::Store(error)) if !error.is_unreadable() => {
            Err(SessionError::Store(error))
        }
        read => Ok(read.ok()),
    }
}
