//! Tags of sessions in cookies and at the server.

use std::sync::Arc;

use super::migration::{CookieMigration, NewStoreEntry, PendingTag};
use crate::{
    id::StoreKey,
    store::{
        Store, StoreFuture, Tag, TagStore,
        migrating::error::{MigratingError, MigratingResult},
    },
};

/// Maximum number of times that tagged sessions are listed while new ones appear.
const MAX_LIST_ROUNDS: usize = 16;

/// Destroys all sessions with `tag` in the new store, after `revoking` has revoked the tag for cookies.
///
/// # Errors
/// If revoking fails. The sessions in the new store are destroyed even then.
pub(super) async fn destroy_tagged(
    revoking: Option<StoreFuture<()>>,
    new: Arc<dyn Store>,
    tag: Tag,
    except: Option<StoreKey>,
) -> MigratingResult<()> {
    let revoked = match revoking {
        Some(revoking) => revoking.await,
        None => Ok(()),
    };
    let tags = new.tags().ok_or(MigratingError::NoTags)?;
    if let Some(destroying) = tags.destroy_tagged(&tag, except.as_ref()) {
        destroying.await?;
        return revoked;
    }
    for _ in 0..MAX_LIST_ROUNDS {
        let mut keys = tags.tagged(&tag).await?;
        keys.retain(|key| Some(*key) != except);
        if keys.is_empty() {
            break;
        }
        for key in &keys {
            new.destroy(key).await?;
        }
    }
    revoked
}

impl CookieMigration {
    pub(super) fn has_tags(&self) -> bool {
        self.old.tags().is_some() && self.new.tags().is_some()
    }

    fn tags(&self) -> Result<(&dyn TagStore, &dyn TagStore), MigratingError> {
        match (self.old.tags(), self.new.tags()) {
            (Some(old), Some(new)) => Ok((old, new)),
            _ => Err(MigratingError::NoTags),
        }
    }

    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> MigratingResult<bool> {
        let (old, new) = self.tags()?;
        if !self.old.contains(key) && new.tag(key, tag).await? {
            return Ok(true);
        }
        let is_tagged = match old.tag(key, tag).await {
            // The write that follows migrates the session, so the tag need not fit into the cookie.
            Err(error) if self.writes_to_new() && error.too_large().is_some() => true,
            tagged => tagged?,
        };
        if is_tagged {
            self.pending_tags().push(PendingTag::Add(tag.clone()));
        }
        Ok(is_tagged)
    }

    pub(super) async fn untag(&self, key: &StoreKey, tag: &Tag) -> MigratingResult<()> {
        let (old, new) = self.tags()?;
        if self.old.contains(key) {
            self.pending_tags().push(PendingTag::Remove(tag.clone()));
            old.untag(key, tag).await?;
        }
        new.untag(key, tag).await
    }

    pub(super) async fn tagged(&self, tag: &Tag) -> MigratingResult<Vec<StoreKey>> {
        self.tags()?.1.tagged(tag).await
    }

    pub(super) async fn tags_of(&self, key: &StoreKey) -> MigratingResult<Vec<Tag>> {
        match self.new_entry(key, None).await? {
            NewStoreEntry::Session(_) => self.tags()?.1.tags_of(key).await,
            NewStoreEntry::Gone => Ok(Vec::new()),
            NewStoreEntry::Reserved(_) | NewStoreEntry::Absent => self.cookie_tags(key).await,
        }
    }

    /// Returns the tags in the session's cookie, with the changes of this request. Returns none if one
    /// of the stores has no tags.
    pub(super) async fn cookie_tags(&self, key: &StoreKey) -> MigratingResult<Vec<Tag>> {
        let Ok((old, _)) = self.tags() else {
            return Ok(Vec::new());
        };
        let mut tags = old.tags_of(key).await?;
        for change in &*self.pending_tags() {
            let (PendingTag::Add(tag) | PendingTag::Remove(tag)) = change;
            tags.retain(|existing| existing != tag);
            if let PendingTag::Add(tag) = change {
                tags.push(tag.clone());
            }
        }
        Ok(tags)
    }

    /// Adds the tags to the record under `key` in the new store. Returns `false` if there is no record.
    pub(super) async fn add_tags_to_new(
        &self,
        key: &StoreKey,
        tags: &[Tag],
    ) -> MigratingResult<bool> {
        let (_, new) = self.tags()?;
        for tag in tags {
            if !new.tag(key, tag).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> MigratingResult<()> {
        if !self.writes_to_new() {
            return self.tags()?.0.copy_tags(from, to).await;
        }
        match self.old.contains(from) {
            false => self.tags()?.1.copy_tags(from, to).await,
            true => {
                let tags = self.tags_of(from).await?;
                self.add_tags_to_new(to, &tags).await.map(drop)
            }
        }
    }

    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> MigratingResult<()> {
        if !self.old.contains(from) {
            return self.tags()?.1.move_tags(from, to).await;
        }
        let tags = self.tags_of(from).await?;
        if self.add_tags_to_new(to, &tags).await? {
            for tag in &tags {
                self.untag(from, tag).await?;
            }
        }
        Ok(())
    }
}
