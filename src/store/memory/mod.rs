//! The memory store: sessions in this process.

mod builder;
mod key_queue;
mod key_set;
mod settings;
mod slot;
mod stats;
mod sweep;
mod sweep_timer;
mod table;
mod tag_index;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task;

pub use self::{builder::MemoryStoreBuilder, stats::MemoryStats};
use self::{slot::OversizeRecord, table::Table};
use super::{
    Capabilities, ReadOutcome, ScanCursor, ScanPage, ScanStore, Store, StoreError, StoreFuture,
    StoreStat, Tag, TagStore, WriteOutcome, WriteRequest,
};
use crate::id::StoreKey;

/// The store's name in errors.
const NAME: &str = "memory";

/// A store in the memory of this process. Its sessions end with the process.
///
/// Clones share their sessions. Every future is ready from the start and no lock is held across an
/// await. A read copies no data. It returns a reference-counted slice.
///
/// # Limits
///
/// - **Records and bytes.** When a write exceeds `max_records` or `max_bytes`, the store evicts
///   records until it is within both limits. For each eviction it samples eight records, in turn from the
///   whole store. It removes the expired ones; if none is expired, it removes the one that expires
///   first. Since a touch moves the expiry, this approximates least recently used if all sessions
///   have the same time to live. The record just written is never evicted. Concurrent writers may
///   exceed a limit by the records that they are writing. `max_bytes` counts data and tags; a
///   record takes about 190 bytes more (`cargo bench --bench memory` measures it).
/// - **Tombstones** are never evicted to make room for records. Their limit is `max_tombstones`. Beyond
///   it the store evicts the tombstone that ends first. Its key is no longer fenced: a slow request
///   could recreate that session. [`stats`](Self::stats) counts these evictions.
/// - **One record.** Data and tags longer than `max_bytes` are rejected with an error.
///
/// The store keeps data as it was handed in. A [`Bytes`](bytes::Bytes) that is a small part of a large buffer
/// keeps the whole buffer in memory.
///
/// # Expiry
///
/// An expired record is absent from that millisecond on. Its memory is freed later, in bounded
/// steps. Each new record inspects two older keys. Inside a tokio runtime a background task also
/// inspects some keys every second, and the whole store in a minute, so an expired record of a store of
/// any size is freed within two minutes. The task also frees tables that have become too large.
/// The first write or destroy starts the task. It ends when the last clone of the store is
/// dropped, and it does not keep a runtime from ending. Without a runtime, call
/// [`sweep`](Self::sweep) if memory must be freed.
///
/// # Many sessions with one tag
///
/// [`tagged`](TagStore::tagged) of a tag that never had more than 2,048 sessions is ready at once. For other
/// tags it works in parts, and other tasks run between them. It returns the sessions as the call finds them,
/// except those that end meanwhile.
///
/// # Example
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use hyper_session::{
///     id::SessionId,
///     store::{Expected, MemoryStore, ReadOutcome, Store, WriteOutcome, WriteRequest},
/// };
///
/// let store = MemoryStore::builder().max_records(50_000).build();
/// let (key, hour) = (SessionId::generate()?.store_key(), Duration::from_secs(3600));
///
/// let created = store.write(WriteRequest::new(&key, "a", hour, Expected::Absent)).await?;
/// let WriteOutcome::Done(version) = created else { panic!("the key is in use") };
/// store.write(WriteRequest::new(&key, "b", hour, Expected::Version(version))).await?;
/// store.destroy(&key).await?;
///
/// assert_eq!(store.read(&key, None).await?, ReadOutcome::Gone);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Table>);

impl MemoryStore {
    /// Returns a store with the default limits and the system clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, to change limits or the clock.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    /// Returns the store's size, and how much it has removed.
    pub fn stats(&self) -> MemoryStats {
        self.0.counters.stats()
    }

    /// Inspects every key once and frees the ended ones. Returns the number of freed keys.
    ///
    /// Needed only without a tokio runtime, or to free memory at once. Other tasks may use the store
    /// at the same time.
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
            Some(ttl) => self.0.read_and_touch(key, ttl),
        }))
    }

    /// Writes as the contract requires, then evicts records if a limit is exceeded.
    ///
    /// # Errors
    /// If data and tags alone are longer than the store's `max_bytes`. Nothing changes then.
    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let limit = self.0.settings.max_bytes;
        let len = request.data.len() + request.tags.as_bytes().len();
        if len as u64 > limit {
            let error = StoreError::new(NAME, "write", OversizeRecord { len, limit });
            return StoreFuture::ready(Err(error));
        }
        Table::ensure_sweeper(&self.0);
        StoreFuture::ready(Ok(self.0.write(request)))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        Table::ensure_sweeper(&self.0);
        self.0.destroy(key);
        StoreFuture::ready(Ok(()))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        StoreFuture::ready(Ok(self.0.touch(key, ttl)))
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        let stats = self.stats();
        let name = self.name();
        report(name, StoreStat::Gauge("store_records", stats.records));
        report(name, StoreStat::Gauge("store_tombstones", stats.tombstones));
        report(name, StoreStat::Gauge("store_bytes", stats.bytes));
        report(
            name,
            StoreStat::Counter("store_expired_total", stats.expired),
        );
        report(
            name,
            StoreStat::Counter(
                "store_evicted_total",
                stats.evicted + stats.tombstones_evicted,
            ),
        );
    }

    /// Returns the whole contract for one process, without tombstones if their TTL is zero.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().tombstones(!self.0.settings.tombstone_ttl.is_zero())
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        StoreFuture::ready(Ok(Some(self.stats().records)))
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        Some(self)
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        StoreFuture::ready(Ok(self.0.time_to_live(key)))
    }
}

impl ScanStore for MemoryStore {
    /// Returns all sessions on one page.
    fn scan_page(&self, _from: Option<&ScanCursor>) -> StoreFuture<ScanPage> {
        StoreFuture::ready(Ok(ScanPage::new(self.0.live_keys(), None)))
    }
}

impl TagStore for MemoryStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let mut parts = self.0.tag_index.keys(tag.as_str()).into_iter();
        let first = parts.next().map(|keys| self.0.tagged(&keys, tag.as_str()));
        let mut found = first.unwrap_or_default();
        if parts.len() == 0 {
            return StoreFuture::ready(Ok(found));
        }
        let (table, tag) = (Arc::clone(&self.0), tag.clone());
        StoreFuture::new(async move {
            for keys in parts {
                task::yield_now().await;
                found.extend(table.tagged(&keys, tag.as_str()));
            }
            Ok(found)
        })
    }
}
