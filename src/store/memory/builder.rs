//! What may be chosen about a memory store.

use std::{sync::Arc, time::Duration};

use super::{MemoryStore, engine::Engine};
use crate::clock::Clock;

/// Limits and times of a [`MemoryStore`]; see [there](MemoryStore#limits) what each limit does.
///
/// A limit of zero counts as one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct MemoryStoreBuilder(Settings);

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) clock: Clock,
    pub(super) max_records: u64,
    pub(super) max_bytes: u64,
    pub(super) max_tombstones: u64,
    pub(super) tombstone: Duration,
}

impl Default for MemoryStoreBuilder {
    /// A million records, 512 MiB of data, a million tombstones of 60 s, the system's clock.
    fn default() -> Self {
        Self(Settings {
            clock: Clock::system(),
            max_records: 1_000_000,
            max_bytes: 512 << 20,
            max_tombstones: 1_000_000,
            tombstone: Duration::from_secs(60),
        })
    }
}

impl MemoryStoreBuilder {
    /// The clock that decides what is expired. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// How many records may be kept, the expired that are not freed yet among them.
    /// Default: 1,000,000.
    pub fn max_records(mut self, records: u64) -> Self {
        self.0.max_records = records.max(1);
        self
    }

    /// How many bytes of data and tag names may be kept. Default: 512 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.0.max_bytes = bytes.max(1);
        self
    }

    /// How many tombstones may stand. Default: 1,000,000.
    pub fn max_tombstones(mut self, tombstones: u64) -> Self {
        self.0.max_tombstones = tombstones.max(1);
        self
    }

    /// How long a destroyed key stays fenced; it must outlast the longest request. Default: 60 s.
    ///
    /// Zero means no fence at all: a request that is slower than the destroy brings the session
    /// back, and the store's [capabilities](super::super::Store::capabilities) say so.
    pub fn tombstone_ttl(mut self, time: Duration) -> Self {
        self.0.tombstone = time;
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        MemoryStore(Arc::new(Engine::new(self.0)))
    }
}
