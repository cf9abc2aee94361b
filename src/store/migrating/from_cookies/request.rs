//! The migrating store within one request.

use std::{sync::Arc, time::Duration};

use super::{
    migration::{CookieMigration, combine_capabilities},
    tags::{destroy_tagged, tagged},
};
use crate::{
    id::StoreKey,
    store::{
        Capabilities, ReadOutcome, RequestStore, SetCookies, Store, StoreError, StoreFuture, Tag,
        TagStore, WriteOutcome, WriteRequest, migrating::error::MigratingResult,
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
    fn set_cookies(&self, clear_with_browser: bool) -> Result<SetCookies, StoreError> {
        self.0.old.set_cookies(clear_with_browser)
    }

    fn rejection(&self) -> Option<&'static str> {
        self.0.old.rejection()
    }

    fn remaining_ttl(&self, key: &StoreKey) -> Option<Duration> {
        self.0.old.remaining_ttl(key)
    }
}

impl Store for MigratingRequestStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.run(|migration| async move { migration.read(&key, touch).await })
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.run(|migration| async move { migration.write(request).await })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run(|migration| async move { migration.destroy(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run(|migration| async move { migration.touch(&key, ttl).await })
    }

    fn name(&self) -> &'static str {
        "migrating"
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
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        tagged(&*self.0.new, tag)
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let revoking = self.0.old.tags()?.destroy_tagged(tag, except);
        let (new, tag, except) = (self.0.new.clone(), tag.clone(), except.copied());
        Some(StoreFuture::new(destroy_tagged(revoking, new, tag, except)))
    }
}
