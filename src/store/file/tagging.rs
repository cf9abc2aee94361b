//! Tags: which sessions belong together.

use super::{
    FileError,
    engine::{Engine, Standing, lock},
    frame::{Header, Kind},
    index::{Entry, Position},
    log::Log,
    ops::Answer,
    tags,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{MAX_TAGS, Tag},
};

impl Engine {
    pub(super) fn tag(&self, key: &StoreKey, tag: &Tag) -> Result<Answer<bool>, FileError> {
        let mut log = self.writable()?;
        let Standing::Live(entry) = self.standing(key, self.now()) else {
            return Ok((false, Position::default()));
        };
        let at = self.add_tags(&mut log, key, entry, std::slice::from_ref(tag))?;
        Ok((true, at))
    }

    pub(super) fn untag(&self, key: &StoreKey, tag: &Tag) -> Result<Answer<()>, FileError> {
        let mut log = self.writable()?;
        let mut now = self.tags_of(key);
        let Some(place) = now.iter().position(|one| one == tag) else {
            // Another call may have taken it off a moment ago.
            return Ok(((), log.last()));
        };
        now.swap_remove(place);
        let at = self.set_tags(&mut log, key, now)?;
        Ok(((), at))
    }

    pub(super) fn copy_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Answer<()>, FileError> {
        let mut log = self.writable()?;
        let copied = self.copy_tags_in(&mut log, from, to)?;
        Ok(((), copied.unwrap_or_default()))
    }

    /// Both hold the tags before the first of them loses its own: a crash in between leaves copies.
    pub(super) fn move_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Answer<()>, FileError> {
        let mut log = self.writable()?;
        let copied = self.copy_tags_in(&mut log, from, to)?;
        let at = match copied {
            Some(at) if from == to || self.tags_of(from).is_empty() => at,
            Some(_) => self.set_tags(&mut log, from, Vec::new())?,
            None => Position::default(),
        };
        Ok(((), at))
    }

    /// `None` where one of the two is not live.
    fn copy_tags_in(
        &self,
        log: &mut Log,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Option<Position>, FileError> {
        let now = self.now();
        let (Standing::Live(_), Standing::Live(entry)) =
            (self.standing(from, now), self.standing(to, now))
        else {
            return Ok(None);
        };
        let tags = self.tags_of(from);
        self.add_tags(log, to, entry, &tags).map(Some)
    }

    pub(super) fn tagged(&self, tag: &Tag) -> Result<Answer<Vec<StoreKey>>, FileError> {
        self.check_open()?;
        let keys: Vec<StoreKey> = lock(&self.tags).keys(tag).copied().collect();
        let now = self.now();
        let live = |key: &StoreKey| matches!(self.standing(key, now), Standing::Live(_));
        let tagged = keys.into_iter().filter(live).collect();
        Ok((tagged, self.lock_log().last()))
    }

    pub(super) fn live_tags(&self, key: &StoreKey) -> Result<Answer<Vec<Tag>>, FileError> {
        self.check_open()?;
        let tags = match self.standing(key, self.now()) {
            Standing::Live(_) => self.tags_of(key),
            _ => Vec::new(),
        };
        Ok((tags, self.lock_log().last()))
    }

    fn tags_of(&self, key: &StoreKey) -> Vec<Tag> {
        lock(&self.tags).of(key).to_vec()
    }

    fn add_tags(
        &self,
        log: &mut Log,
        key: &StoreKey,
        entry: Entry,
        more: &[Tag],
    ) -> Result<Position, FileError> {
        let mut now = self.tags_of(key);
        let before = now.len();
        for tag in more {
            if !now.contains(tag) {
                now.push(tag.clone());
            }
        }
        match now.len() {
            same if same == before => {
                let said = lock(&self.tags).at(key);
                Ok(said.map_or(entry.at, |at| at.max(entry.at)))
            }
            many if many > MAX_TAGS => Err(FileError::TooManyTags),
            _ => self.set_tags(log, key, now),
        }
    }

    /// Appends the whole new set, which replaces the old one, and puts it into the table.
    fn set_tags(
        &self,
        log: &mut Log,
        key: &StoreKey,
        now: Vec<Tag>,
    ) -> Result<Position, FileError> {
        let before = log.sizes;
        let payload = tags::encode(&now);
        let header = Header::new(Kind::Tags, *key, 0, Timestamp::MAX).of(&payload);
        let at = self.append(log, &header, &payload)?;
        log.sizes.live += tags::weight(&now);
        let freed = lock(&self.tags).set(*key, now, at);
        log.sizes.live = log.sizes.live.saturating_sub(freed);
        self.settle(log, before);
        Ok(at)
    }
}
