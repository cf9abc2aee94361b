//! Tags of sessions that may be in either store.
//!
//! While a session moves, the new store gets its tags before the old one gives it up. So a tag's
//! sessions are asked of the old store first, and a tag that is given in the old store is given in
//! the new one as well if the session has come there meanwhile.

use super::{error::MigratingError, pair::Pair};
use crate::{
    id::StoreKey,
    store::{MAX_TAGS, StoreError, Tag, TagStore},
};

/// The tags of both stores, where both have them.
pub(super) struct Both<'p> {
    pair: &'p Pair,
    old: &'p dyn TagStore,
    new: &'p dyn TagStore,
}

impl Pair {
    pub(super) fn tags(&self) -> Result<Both<'_>, MigratingError> {
        match (self.old.tags(), self.new.tags()) {
            (Some(old), Some(new)) => Ok(Both {
                pair: self,
                old,
                new,
            }),
            _ => Err(MigratingError::NoTags),
        }
    }
}

impl Both<'_> {
    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> Result<bool, StoreError> {
        if self.new.tag(key, tag).await? {
            return Ok(true);
        }
        let old = self.pair.is_old(key).await? && self.old.tag(key, tag).await?;
        Ok(self.new.tag(key, tag).await? || old)
    }

    pub(super) async fn untag(&self, key: &StoreKey, tag: &Tag) -> Result<(), StoreError> {
        self.old.untag(key, tag).await?;
        self.new.untag(key, tag).await
    }

    pub(super) async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, StoreError> {
        let mut keys = Vec::new();
        for key in self.old.tagged(tag).await? {
            if self.pair.is_old(&key).await? {
                keys.push(key);
            }
        }
        let new = self.new.tagged(tag).await?;
        keys.extend(new);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    pub(super) async fn tags_of(&self, key: &StoreKey) -> Result<Vec<Tag>, StoreError> {
        let mut tags = match self.pair.is_old(key).await? {
            true => self.old.tags_of(key).await?,
            false => Vec::new(),
        };
        let new = self.new.tags_of(key).await?;
        tags.extend(new);
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    pub(super) async fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        match self.is_any_old(from, to).await? {
            false => self.new.copy_tags(from, to).await,
            true => self.give(from, to).await.map(drop),
        }
    }

    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        if !self.is_any_old(from, to).await? {
            return self.new.move_tags(from, to).await;
        }
        for tag in self.give(from, to).await? {
            self.untag(from, &tag).await?;
        }
        Ok(())
    }

    async fn is_any_old(&self, one: &StoreKey, other: &StoreKey) -> Result<bool, StoreError> {
        Ok(self.pair.is_old(one).await? || self.pair.is_old(other).await?)
    }

    /// Gives the tags of one session to another, and says which they were: all that it carries, or
    /// none where they would be too many, or one of the two is not live.
    async fn give(&self, from: &StoreKey, to: &StoreKey) -> Result<Vec<Tag>, StoreError> {
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
