//! The memory store: sessions in this process, gone when it ends.

mod builder;
mod engine;
mod labels;
mod ring;
mod slot;
mod stats;
mod sweep;
mod tagging;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::{builder::MemoryStoreBuilder, stats::MemoryStats};
use self::{engine::Engine, slot::OversizeRecord};
use super::{
    Capabilities, Expected, ReadOutcome, Store, StoreError, StoreFuture, Tag, TagStore,
    WriteOutcome,
};
use crate::id::StoreKey;

/// The name that this store gives itself in errors.
const NAME: &str = "memory";

/// Sessions in this process's memory, for one process and for as long as it runs.
///
/// A clone is the same store. Every method answers at once: its future is ready from the start, no
/// lock is held across an await, and a read copies no data (it hands out a counted reference).
///
/// # Limits
///
/// - **Records and bytes.** When a write takes the store over `max_records` or `max_bytes`, records
///   are evicted until it is under both again: eight are looked at, taken in turn from the whole
///   store; the expired among them go, and where none is expired the one that would expire first
///   goes. Every touch pushes a record's expiry ahead, so with one lifetime for all this is close
///   to "least recently used". The record just written is not a candidate. Writers that run at the
///   same moment may overshoot a limit by the records in their hands. What counts as bytes is the
///   data and the names of tags; a record takes some 190 bytes besides (`cargo bench --bench
///   memory` says how many).
/// - **Tombstones** are never evicted to make room for records. They have a limit of their own,
///   `max_tombstones`; beyond it the one that ends first goes, and with it the fence of a session
///   destroyed at most the tombstone time ago. [`stats`](Self::stats) counts these.
/// - **One record.** Data longer than `max_bytes` is refused with an error.
///
/// Data is kept as it was handed in: a [`Bytes`] that is a small part of a large buffer keeps the
/// whole buffer.
///
/// # Expiry
///
/// What is expired is never answered, from that millisecond on. Its memory is freed by bounded
/// steps: each new record looks at two old keys, and inside a tokio runtime a task looks at some
/// of them every second, so that all are seen in about a minute. The task is started by the first
/// record, ends when the last clone of the store is dropped, and keeps no runtime from ending. Without
/// a runtime, call [`sweep`](Self::sweep) where that matters.
///
/// # Example
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_session::{id::SessionId, store::{Expected, MemoryStore, Read, Store, Written}};
/// use std::time::Duration;
///
/// let store = MemoryStore::builder().max_records(50_000).build();
/// let (key, hour) = (SessionId::generate()?.store_key(), Duration::from_secs(3600));
///
/// let first = store.write(&key, "a".into(), hour, Expected::Absent).await?;
/// let Written::Done(version) = first else { panic!("a new key has no record") };
/// store.write(&key, "b".into(), hour, Expected::Version(version)).await?;
/// store.destroy(&key).await?;
///
/// assert_eq!(store.read(&key, None).await?, Read::Gone);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Engine>);

impl MemoryStore {
    /// A store with the default limits, on the system's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store of which something else than the default is wanted.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    /// The store's own size, and what it has dropped so far.
    ///
    /// Each figure is exact; between them they may belong to different moments while others write.
    pub fn stats(&self) -> MemoryStats {
        self.0.counters.stats()
    }

    /// Looks at every key once and frees what is expired; returns how many keys that were.
    ///
    /// Needed only without a tokio runtime, or to free memory at once. Other tasks may use the store
    /// meanwhile.
    pub fn sweep(&self) -> usize {
        self.0.sweep_all()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryStore").field(&self.stats()).finish()
    }
}

impl Store for MemoryStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        StoreFuture::ready(Ok(match touch {
            None => self.0.read(key),
            Some(ttl) => self.0.read_touching(key, ttl),
        }))
    }

    /// Writes as the contract says, and makes room where a limit was passed.
    ///
    /// # Errors
    /// When `data` alone is longer than the store's `max_bytes`. Nothing is changed then.
    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let limit = self.0.settings.max_bytes;
        if data.len() as u64 > limit {
            let len = data.len();
            let error = StoreError::new(NAME, "write", OversizeRecord { len, limit });
            return StoreFuture::ready(Err(error));
        }
        Engine::keep_swept(&self.0);
        StoreFuture::ready(Ok(self.0.write(key, data, ttl, expected)))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        Engine::keep_swept(&self.0);
        self.0.destroy(key);
        StoreFuture::ready(Ok(()))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        StoreFuture::ready(Ok(self.0.touch(key, ttl)))
    }

    /// The whole contract, in this process only; without the fence when the tombstone time is zero.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tombstones: !self.0.settings.tombstone.is_zero(),
            ..Capabilities::default()
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        StoreFuture::ready(Ok(Some(self.stats().records)))
    }
}

impl TagStore for MemoryStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let tagged = self.0.tag(key, tag.as_str());
        StoreFuture::ready(tagged.map_err(|error| StoreError::new(NAME, "tag", error)))
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        self.0.untag(key, tag.as_str());
        StoreFuture::ready(Ok(()))
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        StoreFuture::ready(Ok(self.0.tagged(tag.as_str())))
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let names = self.0.tags_of(key);
        // Every name here was a tag's.
        let tags = names.iter().filter_map(|name| Tag::new(&**name).ok());
        StoreFuture::ready(Ok(tags.collect()))
    }

    /// Copies the tags that `from` has at this moment: all, or none where they would be too many.
    ///
    /// # Errors
    /// When the session under `to` would have more than [`MAX_TAGS`](super::MAX_TAGS) tags.
    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let copied = self.0.copy_tags(from, to).map(drop);
        StoreFuture::ready(copied.map_err(|error| StoreError::new(NAME, "copy tags", error)))
    }

    /// Moves the tags that `from` has at this moment: all, or none where they would be too many.
    ///
    /// # Errors
    /// When the session under `to` would have more than [`MAX_TAGS`](super::MAX_TAGS) tags.
    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let moved = self.0.move_tags(from, to);
        StoreFuture::ready(moved.map_err(|error| StoreError::new(NAME, "move tags", error)))
    }
}
