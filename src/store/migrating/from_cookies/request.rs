//! The migrating store within one request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    migration::{CookieMigration, combine_capabilities},
    tags::destroy_tagged,
};
use crate::{
    id::StoreKey,
    store::{
        Capabilities, Expected, ReadOutcome, RequestStore, SetCookies, Store, StoreError,
        StoreFuture, Tag, TagStore, WriteOutcome, migrating::error::MigratingResult,
    },
};

/// The migrating store of one request.
pub(super) struct MigratingRequestStore(Arc<CookieMigration>);

impl MigratingRequestStore {
    pub(super) fn new(old: Arc<dyn RequestStore>, new: Arc<dyn Store>, migrates: bool) -> Self {
        Self(Arc::new(CookieMigration::new(old, new, migrates)))
    }

    fn run<T, F>(&self, operation: impl FnOnce(Arc<CookieMigration>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = MigratingResult<T>> + Send + 'static,
    {
        StoreFuture::new(operation(Arc::clone(&self.0)))
    }
}

impl RequestStore for MigratingRequestStore {
    fn set_cookies(&self) -> Result<SetCookies, StoreError> {
        self.0.old.set_cookies()
    }

    fn rejection(&self) -> Option<&'static str> {
        self.0.old.rejection()
    }

    fn contains(&self, key: &StoreKey) -> bool {
        self.0.old.contains(key)
    }
}

impl Store for MigratingRequestStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.run(|migration| async move { migration.read(&key, touch).await })
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let key = *key;
        self.run(|migration| async move { migration.write(&key, data, ttl, expected).await })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run(|migration| async move { migration.destroy(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run(|migration| async move { migration.touch(&key, ttl).await })
    }

    fn capabilities(&self) -> Capabilities {
        let CookieMigration { old, new, .. } = &*self.0;
        let writes_to_new = self.0.writes_to_new();
        combine_capabilities(old.capabilities(), new.capabilities(), writes_to_new)
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.0.has_tags().then_some(self as &dyn TagStore)
    }
}

impl TagStore for MigratingRequestStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let (key, tag) = (*key, tag.clone());
        self.run(|migration| async move { migration.tag(&key, &tag).await })
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let (key, tag) = (*key, tag.clone());
        self.run(|migration| async move { migration.untag(&key, &tag).await })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.run(|migration| async move { migration.tagged(&tag).await })
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let key = *key;
        self.run(|migration| async move { migration.tags_of(&key).await })
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.run(|migration| async move { migration.copy_tags(&from, &to).await })
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.run(|migration| async move { migration.move_tags(&from, &to).await })
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let revoking = self.0.old.tags()?.destroy_tagged(tag, except);
        let (new, tag, except) = (self.0.new.clone(), tag.clone(), except.copied());
        Some(StoreFuture::new(destroy_tagged(revoking, new, tag, except)))
    }
}
