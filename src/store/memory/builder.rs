//! The builder of the memory store.

use std::{sync::Arc, time::Duration};

use super::{MemoryStore, settings::Settings, table::Table};
use crate::clock::Clock;

/// A builder of a [`MemoryStore`]. See [Limits](MemoryStore#limits) for the effect of each limit.
///
/// A limit of zero counts as one.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct MemoryStoreBuilder(Settings);

impl MemoryStoreBuilder {
    /// Sets the clock that decides which records have expired. Default: the system clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// Sets the maximum number of records, including expired records that are not freed yet.
    /// Default: 1,000,000.
    pub fn max_records(mut self, records: u64) -> Self {
        self.0.max_records = records.max(1);
        self
    }

    /// Sets the maximum size of data and tags, in bytes. Default: 512 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.0.max_bytes = bytes.max(1);
        self
    }

    /// Sets the maximum number of tombstones. Default: 1,000,000.
    pub fn max_tombstones(mut self, tombstones: u64) -> Self {
        self.0.max_tombstones = tombstones.max(1);
        self
    }

    /// Sets how long a destroyed key is fenced. Must exceed the longest request. Default: 60 s.
    ///
    /// Zero disables the fence. A request that is slower than the destroy recreates the session. The
    /// store's [capabilities](super::super::Store::capabilities) report this.
    pub fn tombstone_ttl(mut self, ttl: Duration) -> Self {
        self.0.tombstone_ttl = ttl;
        self
    }

    /// Sets if a full store refuses records instead of evicting others. Default: `false`.
    ///
    /// A write that would exceed a limit then fails with [`StoreFull`](super::StoreFull). Use it for a [revocation
    /// list](crate::CookieStore::with_revocation). Its [capabilities](super::super::Store::capabilities) report that it
    /// does not evict.
    pub const fn refuse_when_full(mut self, refuse: bool) -> Self {
        self.0.refuses_when_full = refuse;
        self
    }

    /// Returns the store.
    pub fn build(self) -> MemoryStore {
        MemoryStore(Arc::new(Table::new(self.0.with_partitions())))
    }
}
