//! Tags of a session that may still be in its cookie.

use super::carry::{Answer, Known, Leaving};
use crate::{
    id::StoreKey,
    store::{Tag, TagStore, migrating::error::MigratingError},
};

impl Leaving {
    pub(super) fn has_tags(&self) -> bool {
        self.old.tags().is_some() && self.new.tags().is_some()
    }

    fn tags(&self) -> Result<(&dyn TagStore, &dyn TagStore), MigratingError> {
        match (self.old.tags(), self.new.tags()) {
            (Some(old), Some(new)) => Ok((old, new)),
            _ => Err(MigratingError::NoTags),
        }
    }

    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> Answer<bool> {
        let (old, new) = self.tags()?;
        if !self.old.contains(key) && new.tag(key, tag).await? {
            return Ok(true);
        }
        let tagged = match old.tag(key, tag).await {
            // The session leaves its cookie with the write that follows.
            Err(error) if self.is_at_server() && error.too_large().is_some() => true,
            tagged => tagged?,
        };
        if tagged {
            self.pending().push((tag.clone(), true));
        }
        Ok(tagged)
    }

    pub(super) async fn untag(&self, key: &StoreKey, tag: &Tag) -> Answer<()> {
        let (old, new) = self.tags()?;
        if self.old.contains(key) {
            self.pending().push((tag.clone(), false));
            old.untag(key, tag).await?;
        }
        new.untag(key, tag).await
    }

    pub(super) async fn tagged(&self, tag: &Tag) -> Answer<Vec<StoreKey>> {
        self.tags()?.1.tagged(tag).await
    }

    pub(super) async fn tags_of(&self, key: &StoreKey) -> Answer<Vec<Tag>> {
        match self.known(key, None).await? {
            Known::Session(_) => self.tags()?.1.tags_of(key).await,
            Known::Gone => Ok(Vec::new()),
            Known::Announced(_) | Known::Nothing => self.old_tags(key).await,
        }
    }

    /// The tags that the session has in its cookie, with what this request has done to them; none
    /// where the new store has no tags.
    pub(super) async fn old_tags(&self, key: &StoreKey) -> Answer<Vec<Tag>> {
        let Ok((old, _)) = self.tags() else {
            return Ok(Vec::new());
        };
        let mut tags = old.tags_of(key).await?;
        for (tag, add) in &*self.pending() {
            tags.retain(|there| there != tag);
            if *add {
                tags.push(tag.clone());
            }
        }
        Ok(tags)
    }

    /// Tags what the new store has under `key`: whether it was there to the last.
    pub(super) async fn give(&self, key: &StoreKey, tags: &[Tag]) -> Answer<bool> {
        let (_, new) = self.tags()?;
        for tag in tags {
            if !new.tag(key, tag).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> Answer<()> {
        if !self.is_at_server() {
            return self.tags()?.0.copy_tags(from, to).await;
        }
        match self.old.contains(from) {
            false => self.tags()?.1.copy_tags(from, to).await,
            true => self.give(to, &self.tags_of(from).await?).await.map(drop),
        }
    }

    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Answer<()> {
        if !self.old.contains(from) {
            return self.tags()?.1.move_tags(from, to).await;
        }
        let tags = self.tags_of(from).await?;
        if self.give(to, &tags).await? {
            for tag in &tags {
                self.untag(from, tag).await?;
            }
        }
        Ok(())
    }
}
