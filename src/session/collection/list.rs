//! Lists of sessions, and their metadata.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use super::{LiveSession, MAX_ROUNDS, RegenerationState, SessionCollection};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    session::{Event, SessionError, Snapshot},
    store::{ScanCursor, ScanStore, Tag, Tags, TagsIter},
};

/// A live session in a list: its times, its tags, and chosen values.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    key: StoreKey,
    created: Timestamp,
    last_seen: Option<Timestamp>,
    tags: Tags,
    values: Snapshot,
}

impl SessionInfo {
    /// Returns the session's key.
    pub const fn key(&self) -> &StoreKey {
        &self.key
    }

    /// Returns when the session was created.
    pub const fn created_at(&self) -> Timestamp {
        self.created
    }

    /// Returns the time of the session's last renewal or of the last write by a request, to within the setting
    /// [`touch_interval`](crate::SessionConfig#structfield.touch_interval).
    ///
    /// The record's time to live determines it. It is `None`, which means unknown, in these cases:
    ///
    /// - The store does not know the time to live.
    /// - The absolute timeout ends the session before its idle timeout.
    /// - The session's own timeout is longer than the setting `max_age_limit`.
    ///
    /// After a change of the setting `age` or `touch_interval`, it may be `None` or wrong until the next renewal.
    pub const fn last_seen(&self) -> Option<Timestamp> {
        self.last_seen
    }

    /// Returns the session's tags.
    pub fn tags(&self) -> TagsIter<'_> {
        self.tags.iter()
    }

    /// Returns the values at the paths that the caller chose.
    pub const fn values(&self) -> &Snapshot {
        &self.values
    }
}

/// # Lists
impl SessionCollection {
    /// Returns the metadata of a live session, with its values at these paths, or `None` if there is no such
    /// session.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    pub async fn info(
        &self,
        key: &StoreKey,
        paths: &[&str],
    ) -> Result<Option<SessionInfo>, SessionError> {
        match self.read_current(key).await? {
            Some(live) => self.session_info(live, paths).await.map(Some),
            None => Ok(None),
        }
    }

    async fn session_info(
        &self,
        live: LiveSession,
        paths: &[&str],
    ) -> Result<SessionInfo, SessionError> {
        let LiveSession { key, session, .. } = live;
        let lifetime = session.head.lifetime;
        let ttl = self.0.backend.store().time_to_live(&key).await?;
        let last_touch = |ttl| self.0.last_touch(&lifetime, ttl, self.0.clock.now());
        Ok(SessionInfo {
            key,
            created: lifetime.created,
            last_seen: ttl.and_then(last_touch),
            values: Snapshot::new(session.data.select(paths)?),
            tags: session.tags,
        })
    }

    /// Returns the live sessions with a tag, each with its values at these paths. The session that was seen
    /// last comes first. A session with an unknown [`last_seen`](SessionInfo::last_seen) is sorted by its creation.
    /// A stored session that is getting a new id is listed under its old key, if that has the tag. It may be listed
    /// under both keys if it gets the new id during the call and is changed again at once.
    /// A record that is unreadable is left out, with an [`Event::RecordUnreadable`].
    ///
    /// # Errors
    /// See [`tagged`](Self::tagged).
    ///
    /// ```
    /// # use hyper_session::{SessionCollection, SessionError};
    /// # async fn page(collection: &SessionCollection) -> Result<(), SessionError> {
    /// for session in collection.list("user-7", &["device.name"]).await? {
    ///     let name: Option<&str> = session.values().get("device.name")?;
    ///     println!("{name:?}, last seen {:?}", session.last_seen());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn list(&self, tag: &str, paths: &[&str]) -> Result<Vec<SessionInfo>, SessionError> {
        let tag = Tag::new(tag)?;
        let (mut sessions, mut replaced) = (BTreeMap::new(), Vec::new());
        let (mut visited, mut unfinished) = (BTreeSet::new(), Vec::new());
        for _ in 0..MAX_ROUNDS {
            let mut is_complete = true;
            for key in self.tagged_since(&tag, &mut visited).await? {
                match self.list_entry(&key, paths).await? {
                    ListEntry::None => is_complete = false,
                    ListEntry::Unfinished(old) => unfinished.push((key, old)),
                    ListEntry::Session(info, old) => {
                        replaced.extend(old);
                        sessions.insert(info.key, *info);
                    }
                }
            }
            if is_complete {
                break;
            }
        }
        // A fence may have been written after its old key was read.
        for (key, old) in unfinished {
            if let ListEntry::Session(info, _) = self.list_entry(&key, paths).await? {
                replaced.push(old);
                sessions.insert(info.key, *info);
            }
        }
        replaced.iter().for_each(|old| drop(sessions.remove(old)));
        let mut sessions: Vec<SessionInfo> = sessions.into_values().collect();
        sessions.sort_by_key(|session| {
            let seen = session.last_seen.unwrap_or(session.created);
            std::cmp::Reverse((seen, session.created, session.key))
        });
        Ok(sessions)
    }

    /// Begins to visit all live sessions, each with its values at these paths.
    ///
    /// # Errors
    /// [`ScanUnsupported`](SessionError::ScanUnsupported) if the store cannot list its sessions, such as one in
    /// cookies.
    ///
    /// # Concurrency
    /// A session that is live during the whole scan is visited at least once, and sometimes twice. A session
    /// that begins, ends or gets a new id meanwhile may be missing. A session that gets a new id meanwhile may also be
    /// visited under both keys.
    ///
    /// ```
    /// # use hyper_session::{SessionCollection, SessionError};
    /// # async fn job(collection: &SessionCollection) -> Result<(), SessionError> {
    /// let mut scan = collection.scan(&["user.name"])?;
    /// while let Some(session) = scan.next().await? {
    ///     if session.values().has("user.name")? {
    ///         println!("{}: created {:?}", session.key(), session.created_at());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "iter")]
    pub fn scan(&self, paths: &[&str]) -> Result<SessionScan, SessionError> {
        scan_store(self)?;
        Ok(SessionScan {
            collection: self.clone(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            keys: VecDeque::new(),
            unfinished: VecDeque::new(),
            position: ScanPosition::Start,
        })
    }

    /// Returns the entry of a list for a key. A record that is unreadable has none.
    async fn list_entry(&self, key: &StoreKey, paths: &[&str]) -> Result<ListEntry, SessionError> {
        let read = async {
            let Some(mut live) = self.read(key).await? else {
                return Ok(ListEntry::None);
            };
            let mut old = None;
            match self.regeneration_state(&live).await? {
                RegenerationState::Lost => return Ok(ListEntry::None),
                RegenerationState::OldFound => {
                    let mark = live.mark.take();
                    return Ok(mark.map_or(ListEntry::None, |it| ListEntry::Unfinished(it.from)));
                }
                RegenerationState::Fenced(key) => {
                    // The regeneration may have written the record again before the fence.
                    let Some(newest) = self.read(&live.key).await? else {
                        return Ok(ListEntry::None);
                    };
                    (live, old) = (newest, Some(key));
                }
                RegenerationState::Ended | RegenerationState::OldMissing => {}
            }
            let info = self.session_info(live, paths).await?;
            Ok(ListEntry::Session(Box::new(info), old))
        };
        match read.await {
            Err(SessionError::Record(_) | SessionError::Malformed(_)) => {
                self.0.emit(&Event::RecordUnreadable { key: *key });
                Ok(ListEntry::None)
            }
            entry => entry,
        }
    }
}

/// The entry of a list for a key.
enum ListEntry {
    None,
    /// The record of a new id. The session still has the old one, with this key.
    Unfinished(StoreKey),
    /// A session, and the old key that its fence has replaced.
    Session(Box<SessionInfo>, Option<StoreKey>),
}

fn scan_store(collection: &SessionCollection) -> Result<&dyn ScanStore, SessionError> {
    let store = collection.0.backend.store();
    store.scan().ok_or(SessionError::ScanUnsupported)
}

/// A visit of all live sessions. See [`SessionCollection::scan`].
#[must_use = "a scan reads nothing until `next` is called"]
pub struct SessionScan {
    collection: SessionCollection,
    paths: Vec<String>,
    /// The keys of the page that was read last.
    keys: VecDeque<StoreKey>,
    /// The records of new ids that their sessions did not have yet. They are read again at the end.
    unfinished: VecDeque<StoreKey>,
    position: ScanPosition,
}

enum ScanPosition {
    Start,
    Page(ScanCursor),
    End,
    /// The unfinished records are read again.
    Repeated,
}

impl SessionScan {
    /// Returns the next live session, or `None` at the end.
    ///
    /// # Errors
    /// [`Store`](SessionError::Store) if the store fails. The next call tries again.
    pub async fn next(&mut self) -> Result<Option<SessionInfo>, SessionError> {
        let paths: Vec<&str> = self.paths.iter().map(String::as_str).collect();
        loop {
            while let Some(key) = self.keys.front() {
                let entry = self.collection.list_entry(key, &paths).await?;
                let key = self.keys.pop_front();
                match entry {
                    ListEntry::Session(info, _) => return Ok(Some(*info)),
                    ListEntry::Unfinished(_) => self.unfinished.extend(key),
                    ListEntry::None => {}
                }
            }
            let from = match &self.position {
                ScanPosition::Start => None,
                ScanPosition::Page(cursor) => Some(cursor),
                ScanPosition::End if !self.unfinished.is_empty() => {
                    self.keys = std::mem::take(&mut self.unfinished);
                    self.position = ScanPosition::Repeated;
                    continue;
                }
                ScanPosition::End | ScanPosition::Repeated => return Ok(None),
            };
            let page = scan_store(&self.collection)?.scan_page(from);
            let page = page.await?;
            self.keys = page.keys.into();
            self.position = page.next.map_or(ScanPosition::End, ScanPosition::Page);
        }
    }
}

impl fmt::Debug for SessionScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionScan")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
