//! The memory store: sessions in this process.

mod builder;
mod error;
mod evict;
mod eviction_pool;
mod key_set;
mod partitions;
mod settings;
mod slot;
mod stats;
mod sweep;
mod sweep_schedule;
mod sweeper;
mod table;
mod tag_index;
#[cfg(test)]
mod tests;
mod tombstone_queue;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task;

pub use self::{builder::MemoryStoreBuilder, error::StoreFull, stats::MemoryStats};
use self::{
    slot::{OversizeRecord, record_len},
    table::Table,
};
use super::{
    Capabilities, InvalidCursor, ReadOutcome, ScanCursor, ScanPage, ScanStore, Store, StoreError,
    StoreFuture, StoreStat, Tag, TagStore, WriteOutcome, WriteRequest,
};
#[cfg(doc)]
use crate::clock::Clock;
use crate::id::StoreKey;

/// The store's name in errors.
const NAME: &str = "memory";

/// Number of sessions that a list of a large tag looks up before other tasks run.
const TAGGED_BATCH: usize = 256;

/// Number of entries that a page of a scan visits, at least, except for the last page.
const PAGE: usize = 1_024;

/// A store in the memory of this process. Its sessions end with the process.
///
/// Clones share their sessions. Every future is ready from the start and no lock is held across an
/// await. A read copies no data. It returns a reference-counted slice.
///
/// # Limits
///
/// - **Records and bytes.** When a write exceeds `max_records` or `max_bytes`, the store evicts
///   records until it is within both limits. It samples parts of the store in turn, usually at least
///   eight records, and evicts an eighth of the sample: the records that expire first. A record that was
///   written or touched since the sample is not evicted. Since a touch moves the expiry, this approximates
///   least recently used if all sessions have the same time to live. A write never evicts
///   its own record. `destroy` of a session writes a fence first, so it evicts other records from a full store, even if the
///   session was never stored. Concurrent writers may exceed a limit by the records that they are writing. They evict
///   no more than the excess. `max_bytes` counts data and tags. A session takes about 210 bytes more, and about 150 more
///   with a tag of its own (`benches/README.md` lists them). A reused buffer has up to 64 unused bytes.
/// - **Tombstones** are never evicted to make room for records. Their limit is `max_tombstones`. Beyond
///   it the store evicts the oldest tombstone. Its key is no longer fenced: a slow request
///   could recreate that session. [`stats`](Self::stats) counts these evictions.
/// - **Full.** With [`refuse_when_full`](MemoryStoreBuilder::refuse_when_full), a write that would exceed
///   `max_records` or `max_bytes` fails with [`StoreFull`], and no record is evicted. A write that needs no more
///   room than the record that it replaces is accepted.
/// - **One record.** Data and tags longer than `max_bytes` are rejected with an error.
///
/// The store keeps data as it was handed in. A [`Bytes`](bytes::Bytes) that is a small part of a large buffer
/// keeps the whole buffer in memory.
///
/// # Expiry
///
/// An expired record is absent from that millisecond on. A read removes the expired record that it finds, so the
/// session does not return if the clock is set back. The memory of the others is freed later, in bounded
/// steps. New records inspect two entries each on average. A thread of the process also inspects a sixtieth of
/// each store every second, so an expired record of a store of any size is freed within two minutes. It needs no
/// runtime. The thread also frees tables that have become too large. The first write or destroy starts it,
/// and it ends when the last store is dropped. If the system refuses to start it, the next one tries again.
/// A process that is forked later has no such thread. The records of a dropped store may be freed by the thread.
///
/// A store with a [manual clock](Clock::manual) is not swept by the thread, so that tests are repeatable. Call
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

    /// Inspects every key once, and frees the ended ones and tables that are too large. Returns the number of freed
    /// keys.
    ///
    /// Needed only with a manual clock, or to free memory at once. Other tasks may use the store at the same
    /// time.
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
    /// If data and tags alone are longer than the store's `max_bytes`, or with [`StoreFull`]. Nothing changes then.
    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let limit = self.0.settings.max_bytes;
        let len = record_len(&request);
        if len as u64 > limit {
            let error = StoreError::new(NAME, "write", OversizeRecord { len, limit });
            return StoreFuture::ready(Err(error));
        }
        Table::ensure_swept(&self.0);
        if self.0.settings.refuses_when_full
            && let Err(full) = self.0.check_room(&request)
        {
            return StoreFuture::ready(Err(StoreError::new(NAME, "write", full)));
        }
        StoreFuture::ready(Ok(self.0.write(request)))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        Table::ensure_swept(&self.0);
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

    /// Returns the whole contract for one process, without tombstones if their TTL is zero. The store evicts, unless it
    /// [refuses records](MemoryStoreBuilder::refuse_when_full) when it is full.
    fn capabilities(&self) -> Capabilities {
        let ttl = self.0.settings.tombstone_ttl;
        Capabilities::default()
            .tombstones(!ttl.is_zero())
            .tombstone_ttl(Some(ttl))
            .evicts(!self.0.settings.refuses_when_full)
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
    /// Returns the sessions among the next thousand entries or more.
    fn scan_page(&self, from: Option<&ScanCursor>) -> StoreFuture<ScanPage> {
        let partitions = self.0.slots.partitions();
        let first = match from {
            None => Some(0),
            Some(from) => from.number().and_then(|it| usize::try_from(it).ok()),
        };
        let Some(mut number) = first.filter(|number| *number < partitions.len()) else {
            return StoreFuture::ready(Err(StoreError::new(NAME, "scan", InvalidCursor)));
        };
        let (mut keys, mut visited) = (Vec::new(), 0);
        while let Some(partition) = partitions.get(number).filter(|_| visited < PAGE) {
            visited += self.0.add_live_keys(partition, &mut keys);
            number += 1;
        }
        let next = (number < partitions.len()).then(|| ScanCursor::from_number(number as u64));
        StoreFuture::ready(Ok(ScanPage::new(keys, next)))
    }
}

impl TagStore for MemoryStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let parts = self.0.tag_index.keys(tag.as_str());
        let (table, tag) = (Arc::clone(&self.0), tag.clone());
        if parts.len() <= 1 {
            let has_tag = |key: &&StoreKey| table.has_tag(key, tag.as_str());
            let keys = parts.iter().flat_map(|part| part.iter());
            return StoreFuture::ready(Ok(keys.filter(has_tag).copied().collect()));
        }
        StoreFuture::new(async move {
            // A vector that grows would move a million keys at once.
            let mut found = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
            for (number, key) in parts.iter().flat_map(|part| part.iter()).enumerate() {
                if number % TAGGED_BATCH == TAGGED_BATCH - 1 {
                    task::yield_now().await;
                }
                found.extend(table.has_tag(key, tag.as_str()).then_some(*key));
            }
            Ok(found)
        })
    }
}
