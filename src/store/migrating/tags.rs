//! Tags of sessions that may be in either store.
//!
//! A migration copies the tags to the new store before the session leaves the old one. So:
//!
//! - Sessions with a tag are listed in the old store first. A session that migrates meanwhile is then
//!   listed in the new store.
//! - A tag is added to the new store, and then to the old store if the session is there. If the session
//!   has migrated meanwhile, the tag is added to the new store again.

use super::{
    error::{MigratingError, MigratingResult},
    pair::StorePair,
};
use crate::{
    id::StoreKey,
    store::{MAX_TAGS, Tag, TagStore},
};

/// The tags of both stores, if both have them.
pub(super) struct TagStorePair<'p> {
    pair: &'p StorePair,
    old: &'p dyn TagStore,
    new: &'p dyn TagStore,
}

impl StorePair {
    pub(super) fn tags(&self) -> Result<TagStorePair<'_>, MigratingError> {
        match (self.old.tags(), self.new.tags()) {
            (Some(old), Some(new)) => Ok(TagStorePair {
                pair: self,
                old,
                new,
            }),
            _ => Err(MigratingError::NoTags),
        }
    }
}

impl TagStorePair<'_> {
    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> MigratingResult<bool> {
        if self.new.tag(key, tag).await? {
            return Ok(true);
        }
        let old = self.pair.is_in_old_store(key).await? && self.old.tag(key, tag).await?;
        Ok(self.new.tag(key, tag).await? || old)
    }

    pub(super) async fn untag(&self, key: &StoreKey, tag: &Tag) -> MigratingResult<()> {
        self.old.untag(key, tag).await?;
        self.new.untag(key, tag).await
    }

    pub(super) async fn tagged(&self, tag: &Tag) -> MigratingResult<Vec<StoreKey>> {
        let mut keys = Vec::new();
        for key in self.old.tagged(tag).await? {
            if self.pair.is_in_old_store(&key).await? {
                keys.push(key);
            }
        }
        let new = self.new.tagged(tag).await?;
        keys.extend(new);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    pub(super) async fn tags_of(&self, key: &StoreKey) -> MigratingResult<Vec<Tag>> {
        let mut tags = match self.pair.is_in_old_store(key).await? {
            true => self.old.tags_of(key).await?,
            false => Vec::new(),
        };
        let new = self.new.tags_of(key).await?;
        tags.extend(new);
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    pub(super) async fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> MigratingResult<()> {
        match self.is_any_in_old_store(from, to).await? {
            false => self.new.copy_tags(from, to).await,
            true => self.copy_each(from, to).await.map(drop),
        }
    }

    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> MigratingResult<()> {
        if !self.is_any_in_old_store(from, to).await? {
            return self.new.move_tags(from, to).await;
        }
        for tag in self.copy_each(from, to).await? {
            self.untag(from, &tag).await?;
        }
        Ok(())
    }

    async fn is_any_in_old_store(&self, a: &StoreKey, b: &StoreKey) -> MigratingResult<bool> {
        Ok(self.pair.is_in_old_store(a).await? || self.pair.is_in_old_store(b).await?)
    }

    /// Adds each tag of one session to another, and returns the tags.
    ///
    /// Returns no tags if one of the sessions is not live. Fails before the first tag if the other
    /// session would have too many.
    async fn copy_each(&self, from: &StoreKey, to: &StoreKey) -> MigratingResult<Vec<Tag>> {
        let tags = self.tags_of(from).await?;
        let mut all = self.tags_of(to).await?;
        all.extend(tags.iter().cloned());
        all.sort_unstable();
        all.dedup();
        if from == to {
            return Ok(Vec::new());
        }
        if all.len() > MAX_TAGS {
            return Err(MigratingError::TooManyTags.into());
        }
        for tag in &tags {
            if !self.tag(to, tag).await? {
                return Ok(Vec::new());
            }
        }
        Ok(tags)
    }
}
