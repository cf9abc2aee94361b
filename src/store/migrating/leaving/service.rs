//! The pair of stores without a request: what is at the server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;

use super::{
    carry::{Answer, Known},
    everywhere::end_everywhere,
    visit::Visit,
};
use crate::{
    id::StoreKey,
    store::{
        BoundStore, Capabilities, Expected, ReadOutcome, RequestStore, Store, StoreFuture, Tag,
        TagStore, WriteOutcome,
        migrating::{error::MigratingError, versions::Place},
    },
};

pub(in crate::store::migrating) struct Service {
    old: Arc<dyn BoundStore>,
    new: Arc<dyn Store>,
    moves: bool,
}

/// What of both stores can be relied on. Where writes go to the new store, they have versions.
pub(super) fn capabilities(old: Capabilities, new: Capabilities, at_server: bool) -> Capabilities {
    Capabilities {
        conditional_writes: at_server && new.conditional_writes,
        persistent: old.persistent && new.persistent,
        shared: old.shared && new.shared,
        list_by_tag: false,
        ..new
    }
}

impl Service {
    pub(in crate::store::migrating) fn new(
        old: Box<dyn BoundStore>,
        new: Arc<dyn Store>,
        moves: bool,
    ) -> Self {
        let old = old.into();
        Self { old, new, moves }
    }

    fn at_server<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&dyn TagStore) -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        match self.new.tags() {
            Some(tags) => answer(tags),
            None => StoreFuture::ready(Err(MigratingError::NoTags.into())),
        }
    }
}

impl BoundStore for Service {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore> {
        Arc::new(Visit::new(
            self.old.attach(lines),
            self.new.clone(),
            self.moves,
        ))
    }
}

impl Store for Service {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let reading = self.new.read(key, touch);
        StoreFuture::new(async move {
            Ok(match Known::of(reading.await?)? {
                Known::Session(record) => ReadOutcome::Found(record),
                Known::Gone => ReadOutcome::Gone,
                Known::Announced(_) | Known::Nothing => ReadOutcome::Absent,
            })
        })
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        match expected {
            Expected::Version(version) if matches!(Place::of(version), Place::Old(_)) => {
                self.old.write(key, data, ttl, expected)
            }
            _ => self.new.write(key, data, ttl, expected),
        }
    }

    /// Ends a session at the server, or in its cookie where there is a revocation list.
    ///
    /// # Errors
    /// When one of the stores cannot answer, or the session is not at the server and the old store
    /// cannot end it.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let (key, old, new) = (*key, self.old.clone(), self.new.clone());
        StoreFuture::new(async move { end(&key, &*old, &*new).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.new.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.old.capabilities(), self.new.capabilities(), self.moves)
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        let both = self.old.tags().is_some() && self.new.tags().is_some();
        both.then_some(self as &dyn TagStore)
    }

    fn ready(&self) -> StoreFuture<()> {
        let (old, new) = (self.old.clone(), self.new.clone());
        StoreFuture::new(async move {
            old.ready().await?;
            new.ready().await
        })
    }
}

async fn end(key: &StoreKey, old: &dyn BoundStore, new: &dyn Store) -> Answer<()> {
    let known = Known::of(new.read(key, None).await?)?;
    new.destroy(key).await?;
    match (old.destroy(key).await, known) {
        // It was not in its cookie any more.
        (Err(_), Known::Session(_) | Known::Gone) if !old.capabilities().tombstones => Ok(()),
        (ended, _) => ended,
    }
}

impl TagStore for Service {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        self.at_server(|tags| tags.tag(key, tag))
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        self.at_server(|tags| tags.untag(key, tag))
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        self.at_server(|tags| tags.tagged(tag))
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        self.at_server(|tags| tags.tags_of(key))
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        self.at_server(|tags| tags.copy_tags(from, to))
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        self.at_server(|tags| tags.move_tags(from, to))
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let noting = self.old.tags()?.destroy_tagged(tag, except);
        let ending = end_everywhere(noting, self.new.clone(), tag.clone(), except.copied());
        Some(StoreFuture::new(ending))
    }
}
