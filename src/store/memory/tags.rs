//! The tag operations. A record lists its tags, and the index lists the records.

use std::sync::Arc;

use super::{
    slot::{LiveRecord, SlotState},
    table::Table,
};
use crate::{id::StoreKey, store::MAX_TAGS};

/// The error of adding a tag to a session that has the maximum number of tags.
#[derive(Debug, thiserror::Error)]
#[error("session would have more than {MAX_TAGS} tags; remove tags first")]
pub(super) struct TooManyTags;

/// The record and the index change while the record's shard is locked, so they agree whenever it is
/// not locked.
impl Table {
    /// Tags the live session under `key`. Returns `false` if there is none.
    pub(super) fn tag(&self, key: &StoreKey, name: &str) -> Result<bool, TooManyTags> {
        self.with_live(key, |live| self.add_tags(key, live, &[name]))
            .transpose()
            .map(|tagged| tagged.is_some())
    }

    pub(super) fn untag(&self, key: &StoreKey, name: &str) {
        self.with_live(key, |live| self.remove_tag(key, live, name));
    }

    /// Returns the live sessions under `name`.
    ///
    /// The index yields candidates and is not locked when a record is. A candidate may have ended in
    /// between, so its record decides.
    pub(super) fn tagged(&self, name: &str) -> Vec<StoreKey> {
        let mut keys = self.tag_index.keys(name);
        keys.retain(|key| {
            self.slots.get(key).is_some_and(|slot| {
                let state = slot.state_at(self.settings.clock.now());
                matches!(state, SlotState::Live(live) if live.has_tag(name))
            })
        });
        keys
    }

    /// Returns the tags of the live session under `key`.
    pub(super) fn tags_of(&self, key: &StoreKey) -> Vec<Arc<str>> {
        self.with_live(key, |live| live.tag_names().to_vec())
            .unwrap_or_default()
    }

    /// Adds the tags of the live session under `from` to the live session under `to`, and returns
    /// them. Returns none unless both are live.
    ///
    /// The two are never locked together. A tag that is added to `from` in between is not copied.
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

    /// Moves the tags of the live session under `from` to the live session under `to`. For a moment
    /// both have them.
    pub(super) fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Result<(), TooManyTags> {
        for name in self.copy_tags(from, to)? {
            self.untag(from, &name);
        }
        Ok(())
    }

    /// Adds all of `names` to `live`, the record under `key`, or none if they are too many.
    fn add_tags(
        &self,
        key: &StoreKey,
        live: &mut LiveRecord,
        names: &[&str],
    ) -> Result<(), TooManyTags> {
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
        let shared = new.iter().map(|name| self.tag_index.add(name, *key));
        live.tags.get_or_insert_default().0.extend(shared);
        self.counters.update(before, live.weight());
        Ok(())
    }

    fn remove_tag(&self, key: &StoreKey, live: &mut LiveRecord, name: &str) {
        let before = live.weight();
        let Some(tags) = &mut live.tags else { return };
        tags.0.retain(|tag| **tag != *name);
        if tags.0.is_empty() {
            live.tags = None;
        }
        self.tag_index.remove(name, key);
        self.counters.update(before, live.weight());
    }

    /// Runs `act` on the live record under `key` while its shard is locked.
    fn with_live<T>(&self, key: &StoreKey, act: impl FnOnce(&mut LiveRecord) -> T) -> Option<T> {
        let mut slot = self.slots.get_mut(key)?;
        slot.live_mut(self.settings.clock.now()).map(act)
    }
}
