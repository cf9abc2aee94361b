//! Sessions without a request: for logging out everywhere, for administration, for jobs.

use std::sync::Arc;

use super::{Event, SessionError, Snapshot, engine::Engine, state::decode};
use crate::{
    id::StoreKey,
    store::{ReadOutcome, Tag, TagStore},
};

/// All sessions of a service, by their [`StoreKey`]s.
///
/// Clones share one store. Nothing here holds a lock: what is read may have changed a moment later.
#[derive(Clone, Debug)]
pub struct SessionCollection(Arc<Engine>);

/// How often the sessions of an owner are listed at most, while new ones keep appearing.
const MAX_ROUNDS: usize = 16;

impl SessionCollection {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }

    /// The contents of a live session; `None` where there is none.
    ///
    /// # Errors
    /// When the store fails, or holds something unreadable.
    pub async fn get(&self, key: &StoreKey) -> Result<Option<Snapshot>, SessionError> {
        let ReadOutcome::Found(record) = self.0.backend.store().read(key, None).await? else {
            return Ok(None);
        };
        let contents = decode(&self.0, &record.data)?;
        Ok((!contents.head.is_fence).then(|| Snapshot::new(contents.data)))
    }

    /// Ends a session. Requests that are running in it store nothing more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn destroy(&self, key: &StoreKey) -> Result<(), SessionError> {
        self.0.backend.store().destroy(key).await?;
        self.0.emit(&Event::Destroyed { key: *key });
        Ok(())
    }

    /// Tags a live session with its owner's name; `false` where there is none.
    ///
    /// # Errors
    /// When the store fails or has no tags, or the tag is empty or over 256 bytes.
    pub async fn tag(&self, key: &StoreKey, owner: &str) -> Result<bool, SessionError> {
        let tag = Tag::new(owner)?;
        Ok(self.tags()?.tag(key, &tag).await?)
    }

    /// Takes a tag off a session.
    ///
    /// # Errors
    /// As [`tag`](Self::tag).
    pub async fn untag(&self, key: &StoreKey, owner: &str) -> Result<(), SessionError> {
        let tag = Tag::new(owner)?;
        Ok(self.tags()?.untag(key, &tag).await?)
    }

    /// The live sessions of an owner, in no particular order.
    ///
    /// # Errors
    /// As [`tag`](Self::tag).
    pub async fn tagged(&self, owner: &str) -> Result<Vec<StoreKey>, SessionError> {
        let tag = Tag::new(owner)?;
        Ok(self.tags()?.tagged(&tag).await?)
    }

    /// Ends every session of an owner, except `but` if it is given: logs out everywhere, or
    /// everywhere else. Returns how many sessions were ended.
    ///
    /// A store that cannot list sessions, as one whose sessions are with their visitors, ends those
    /// that were tagged up to this moment, says of none that it ended, and counts 0.
    ///
    /// A session that is just getting a new id is ended under either. One that the owner begins
    /// while this runs may be left; requests that were running in an ended session store nothing
    /// more.
    ///
    /// # Errors
    /// As [`tag`](Self::tag). Sessions ended before the failure stay ended; calling again goes on.
    pub async fn destroy_tagged(
        &self,
        owner: &str,
        but: Option<&StoreKey>,
    ) -> Result<usize, SessionError> {
        let tag = Tag::new(owner)?;
        if let Some(ending) = self.tags()?.destroy_tagged(&tag, but) {
            ending.await?;
            return Ok(0);
        }
        let mut ended = 0;
        // A session that moved after it was listed is found under its new key the next time: it is
        // tagged there before the old one dies.
        for _ in 0..MAX_ROUNDS {
            let before = ended;
            for key in self
                .tagged(owner)
                .await?
                .iter()
                .filter(|key| Some(*key) != but)
            {
                self.destroy(key).await?;
                ended += 1;
            }
            if ended == before {
                break;
            }
        }
        Ok(ended)
    }

    /// How many sessions are stored, where the store can say. Sessions that have expired but are
    /// not collected yet may be counted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self) -> Result<Option<u64>, SessionError> {
        Ok(self.0.backend.store().count().await?)
    }

    fn tags(&self) -> Result<&dyn TagStore, SessionError> {
        self.0
            .backend
            .store()
            .tags()
            .ok_or(SessionError::TagsUnsupported)
    }
}
