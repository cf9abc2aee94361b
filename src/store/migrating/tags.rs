//! Tags of sessions that may be in either store.
//!
//! A session migrates together with its tags, and the marker that replaces it has none. Sessions with a
//! tag are listed in the old store first. A session that migrates meanwhile is then listed in the new
//! store.

use super::{
    error::{MigratingError, MigratingResult},
    marker::MigrationRecord,
    pair::StorePair,
};
use crate::{
    id::StoreKey,
    store::{ReadOutcome, Tag, TagStore},
};

impl StorePair {
    /// Returns the tags of the old and of the new store, if both have them.
    pub(super) fn tags(&self) -> Result<(&dyn TagStore, &dyn TagStore), MigratingError> {
        match (self.old.tags(), self.new.tags()) {
            (Some(old), Some(new)) => Ok((old, new)),
            _ => Err(MigratingError::NoTags),
        }
    }

    pub(super) async fn tagged(&self, tag: &Tag) -> MigratingResult<Vec<StoreKey>> {
        let (old, new) = self.tags()?;
        let mut keys = Vec::new();
        for key in old.tagged(tag).await? {
            if self.is_tagged_in_old_store(&key, tag).await? {
                keys.push(key);
            }
        }
        let migrated = new.tagged(tag).await?;
        keys.extend(migrated);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Returns `true` if the session is live in the old store and has the tag.
    ///
    /// Finishes an unfinished migration. The session may be in the new store already, and may have lost
    /// the tag since.
    async fn is_tagged_in_old_store(&self, key: &StoreKey, tag: &Tag) -> MigratingResult<bool> {
        let ReadOutcome::Found(record) = self.old.read(key, None).await? else {
            return Ok(false);
        };
        match MigrationRecord::decode(record)? {
            MigrationRecord::Session(record) => Ok(record.tags.contains(tag.as_str())),
            MigrationRecord::Migrating(session) => {
                self.publish(key, session).await?;
                Ok(false)
            }
            MigrationRecord::InNewStore | MigrationRecord::Reserved(_) => Ok(false),
        }
    }
}
