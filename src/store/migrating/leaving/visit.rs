//! The pair of stores in one request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{carry::Leaving, everywhere::end_everywhere, service::capabilities};
use crate::{
    id::Key,
    store::{
        Attached, Capabilities, Expected, Read, SetCookies, Store, StoreError, StoreFuture, Tag,
        TagStore, Written,
    },
};

pub(super) struct Visit(Arc<Leaving>);

impl Visit {
    pub(super) fn new(old: Arc<dyn Attached>, new: Arc<dyn Store>, moves: bool) -> Self {
        Self(Arc::new(Leaving::new(old, new, moves)))
    }

    fn doing<T, F>(&self, work: impl FnOnce(Arc<Leaving>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        StoreFuture::new(work(Arc::clone(&self.0)))
    }
}

impl Attached for Visit {
    fn outgoing(&self) -> Result<SetCookies, StoreError> {
        self.0.old.outgoing()
    }

    fn rejected(&self) -> Option<&'static str> {
        self.0.old.rejected()
    }

    fn holds(&self, key: &Key) -> bool {
        self.0.old.holds(key)
    }
}

impl Store for Visit {
    fn read(&self, key: &Key, touch: Option<Duration>) -> StoreFuture<Read> {
        let key = *key;
        self.doing(|it| async move { it.read(&key, touch).await })
    }

    fn write(
        &self,
        key: &Key,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<Written> {
        let key = *key;
        self.doing(|it| async move { it.write(&key, data, ttl, expected).await })
    }

    fn destroy(&self, key: &Key) -> StoreFuture<()> {
        let key = *key;
        self.doing(|it| async move { it.destroy(&key).await })
    }

    fn touch(&self, key: &Key, ttl: Duration) -> StoreFuture<bool> {
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
    fn tag(&self, key: &Key, tag: &Tag) -> StoreFuture<bool> {
        let (key, tag) = (*key, tag.clone());
        self.doing(|it| async move { it.tag(&key, &tag).await })
    }

    fn untag(&self, key: &Key, tag: &Tag) -> StoreFuture<()> {
        let (key, tag) = (*key, tag.clone());
        self.doing(|it| async move { it.untag(&key, &tag).await })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<Key>> {
        let tag = tag.clone();
        self.doing(|it| async move { it.tagged(&tag).await })
    }

    fn tags_of(&self, key: &Key) -> StoreFuture<Vec<Tag>> {
        let key = *key;
        self.doing(|it| async move { it.tags_of(&key).await })
    }

    fn copy_tags(&self, from: &Key, to: &Key) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing(|it| async move { it.copy_tags(&from, &to).await })
    }

    fn move_tags(&self, from: &Key, to: &Key) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing(|it| async move { it.move_tags(&from, &to).await })
    }

    fn destroy_tagged(&self, tag: &Tag, but: Option<&Key>) -> Option<StoreFuture<()>> {
        let noting = self.0.old.tags()?.destroy_tagged(tag, but);
        let ending = end_everywhere(noting, self.0.new.clone(), tag.clone(), but.copied());
        Some(StoreFuture::new(ending))
    }
}
