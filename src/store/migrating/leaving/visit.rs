//! The pair of stores in one request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{carry::Leaving, everywhere::end_everywhere, service::capabilities};
use crate::{
    id::StoreKey,
    store::{
        Capabilities, Expected, ReadOutcome, RequestStore, SetCookies, Store, StoreError,
        StoreFuture, Tag, TagStore, WriteOutcome,
    },
};

pub(super) struct Visit(Arc<Leaving>);

impl Visit {
    pub(super) fn new(old: Arc<dyn RequestStore>, new: Arc<dyn Store>, moves: bool) -> Self {
        Self(Arc::new(Leaving::new(old, new, moves)))
    }

    fn doing<T, F>(&self, work: impl FnOnce(Arc<Leaving>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        StoreFuture::new(work(Arc::clone(&self.0)))
    }
}

impl RequestStore for Visit {
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

impl Store for Visit {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.doing(|it| async move { it.read(&key, touch).await })
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let key = *key;
        self.doing(|it| async move { it.write(&key, data, ttl, expected).await })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.doing(|it| async move { it.destroy(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.doing(|it| async move { it.touch(&key, ttl).await })
    }

    fn capabilities(&self) -> Capabilities {
        let Leaving { old, new, .. } = &*self.0;
        capabilities(
            old.capabilities(),
            new.capabilities(),
            self.0.is_at_server(),
        )
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.0.has_tags().then_some(self as &dyn TagStore)
    }
}

impl TagStore for Visit {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let (key, tag) = (*key, tag.clone());
        self.doing(|it| async move { it.tag(&key, &tag).await })
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let (key, tag) = (*key, tag.clone());
        self.doing(|it| async move { it.untag(&key, &tag).await })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.doing(|it| async move { it.tagged(&tag).await })
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let key = *key;
        self.doing(|it| async move { it.tags_of(&key).await })
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing(|it| async move { it.copy_tags(&from, &to).await })
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing(|it| async move { it.move_tags(&from, &to).await })
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let noting = self.0.old.tags()?.destroy_tagged(tag, except);
        let ending = end_everywhere(noting, self.0.new.clone(), tag.clone(), except.copied());
        Some(StoreFuture::new(ending))
    }
}
