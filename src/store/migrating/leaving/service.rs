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
    id::Key,
    store::{
        Attached, Bound, Capabilities, Expected, Read, Store, StoreFuture, Tag, TagStore, Written,
        migrating::{error::MigratingError, versions::Place},
    },
};

pub(in crate::store::migrating) struct Service {
    old: Arc<dyn Bound>,
    new: Arc<dyn Store>,
    moves: bool,
}

/// What of both stores can be relied on. Where writes go to the new store, they have versions.
pub(super) fn capabilities(old: Capabilities, new: Capabilities, at_server: bool) -> Capabilities {
    Capabilities {
        versions: at_server && new.versions,
        persistent: old.persistent && new.persistent,
        shared: old.shared && new.shared,
        listing: false,
        ..new
    }
}

impl Service {
    pub(in crate::store::migrating) fn new(
        old: Box<dyn Bound>,
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

impl Bound for Service {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn Attached> {
        Arc::new(Visit::new(
            self.old.attach(lines),
            self.new.clone(),
            self.moves,
        ))
    }
}

impl Store for Service {
    fn read(&self, key: &Key, touch: Option<Duration>) -> StoreFuture<Read> {
        let reading = self.new.read(key, touch);
        StoreFuture::new(async move {
            Ok(match Known::of(reading.await?)? {
                Known::Session(record) => Read::Found(record),
                Known::Gone => Read::Gone,
                Known::Announced(_) | Known::Nothing => Read::Absent,
            })
        })
    }

    fn write(
        &self,
        key: &Key,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<Written> {
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
    fn destroy(&self, key: &Key) -> StoreFuture<()> {
        let (key, old, new) = (*key, self.old.clone(), self.new.clone());
        StoreFuture::new(async move { end(&key, &*old, &*new).await })
    }

    fn touch(&self, key: &Key, ttl: Duration) -> StoreFuture<bool> {
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

async fn end(key: &Key, old: &dyn Bound, new: &dyn Store) -> Answer<()> {
    let known = Known::of(new.read(key, None).await?)?;
    new.destroy(key).await?;
    match (old.destroy(key).await, known) {
        // It was not in its cookie any more.
        (Err(_), Known::Session(_) | Known::Gone) if !old.capabilities().tombstones => Ok(()),
        (ended, _) => ended,
    }
}

impl TagStore for Service {
    fn tag(&self, key: &Key, tag: &Tag) -> StoreFuture<bool> {
        self.at_server(|tags| tags.tag(key, tag))
    }

    fn untag(&self, key: &Key, tag: &Tag) -> StoreFuture<()> {
        self.at_server(|tags| tags.untag(key, tag))
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<Key>> {
        self.at_server(|tags| tags.tagged(tag))
    }

    fn tags_of(&self, key: &Key) -> StoreFuture<Vec<Tag>> {
        self.at_server(|tags| tags.tags_of(key))
    }

    fn copy_tags(&self, from: &Key, to: &Key) -> StoreFuture<()> {
        self.at_server(|tags| tags.copy_tags(from, to))
    }

    fn move_tags(&self, from: &Key, to: &Key) -> StoreFuture<()> {
        self.at_server(|tags| tags.move_tags(from, to))
    }

    fn destroy_tagged(&self, tag: &Tag, but: Option<&Key>) -> Option<StoreFuture<()>> {
        let noting = self.old.tags()?.destroy_tagged(tag, but);
        let ending = end_everywhere(noting, self.new.clone(), tag.clone(), but.copied());
        Some(StoreFuture::new(ending))
    }
}
