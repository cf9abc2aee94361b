//! Tags: the record knows its tags, and the index knows the records.

use std::sync::Arc;

use super::{
    engine::Engine,
    slot::{Live, Standing},
};
use crate::{id::StoreKey, store::MAX_TAGS};

/// A session would carry more tags than one may.
#[derive(Debug, thiserror::Error)]
#[error("the session would have more than {MAX_TAGS} tags: untag it first")]
pub(super) struct TooManyTags;

/// Both sides change while the record's shard is locked, so they agree whenever it is not.
impl Engine {
    /// Tags the live session under `key`; `false` when there is none.
    pub(super) fn tag(&self, key: &StoreKey, name: &str) -> Result<bool, TooManyTags> {
        self.with_live(key, |live| self.add_tags(key, live, &[name]))
            .transpose()
            .map(|tagged| tagged.is_some())
    }

    pub(super) fn untag(&self, key: &StoreKey, name: &str) {
        self.with_live(key, |live| self.drop_tag(key, live, name));
    }

    /// The live sessions under `name`. The index gives candidates, each record has the last word:
    /// between the two it may have ended, and the index is never locked when a record is.
    pub(super) fn tagged(&self, name: &str) -> Vec<StoreKey> {
        let mut keys = self.labels.keys(name);
        keys.retain(|key| {
            self.slots.get(key).is_some_and(|slot| {
                let standing = slot.at(self.settings.clock.now());
                matches!(standing, Standing::Live(live) if live.has_tag(name))
            })
        });
        keys
    }

    /// The tags of the live session under `key`.
    pub(super) fn tags_of(&self, key: &StoreKey) -> Vec<Arc<str>> {
        self.with_live(key, |live| live.tag_names().to_vec())
            .unwrap_or_default()
    }

    /// Gives the tags that the live session under `from` has now to the live one under `to` too, and
    /// says which they were; none where one of the two is not live.
    /// The two are never locked together: a tag that comes in between is not among them.
    pub(super) fn copy_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Vec<Arc<str>>, TooManyTags> {
        let tags = self.tags_of(from);
        if tags.is_empty() || from == to {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = tags.iter().map(|name| &**name).collect();
        match self.with_live(to, |live| self.add_tags(to, live, &names)) {
            Some(added) => added.map(|()| tags),
            None => Ok(Vec::new()),
        }
    }

    /// Moves the tags that the live session under `from` has now to the live one under `to`: for a
    /// moment both carry them.
    pub(super) fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Result<(), TooManyTags> {
        for name in self.copy_tags(from, to)? {
            self.untag(from, &name);
        }
        Ok(())
    }

    /// Gives `live`, which stands under `key`, all of `names`, or none where they are too many.
    fn add_tags(&self, key: &StoreKey, live: &mut Live, names: &[&str]) -> Result<(), TooManyTags> {
        let new: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !live.has_tag(name))
            .collect();
        if live.tag_names().len() + new.len() > MAX_TAGS {
            return Err(TooManyTags);
        }
        if new.is_empty() {
            return Ok(());
        }
        let before = live.weight();
        let shared = new.iter().map(|name| self.labels.add(name, *key));
        live.tags.get_or_insert_default().0.extend(shared);
        self.counters.shift(before, live.weight());
        Ok(())
    }

    fn drop_tag(&self, key: &StoreKey, live: &mut Live, name: &str) {
        let before = live.weight();
        let Some(tags) = &mut live.tags else { return };
        tags.0.retain(|tag| **tag != *name);
        if tags.0.is_empty() {
            live.tags = None;
        }
        self.labels.remove(name, key);
        self.counters.shift(before, live.weight());
    }

    /// What `act` says of the live record under `key`, whose shard is locked meanwhile.
    fn with_live<T>(&self, key: &StoreKey, act: impl FnOnce(&mut Live) -> T) -> Option<T> {
        let mut slot = self.slots.get_mut(key)?;
        slot.live_mut(self.settings.clock.now()).map(act)
    }
}
