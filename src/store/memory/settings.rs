//! Settings of the memory store.

use std::time::Duration;

use crate::clock::Clock;

/// Number of partitions of a store for up to a million records.
const PARTITIONS: usize = 512;

/// Maximum number of partitions. Each takes a few hundred bytes.
const MAX_PARTITIONS: u64 = 8 * PARTITIONS as u64;

/// Number of records of a full store for each partition, about. The longest call moves the entries of a shard, half of
/// a partition, to a table of twice the size, or samples a partition for an eviction.
const RECORDS_OF_PARTITION: u64 = 2_048;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) clock: Clock,
    pub(super) max_records: u64,
    pub(super) max_bytes: u64,
    pub(super) max_tombstones: u64,
    pub(super) tombstone_ttl: Duration,
    /// A full store refuses records instead of evicting others.
    pub(super) refuses_when_full: bool,
    /// Number of partitions of the map of records.
    pub(super) partitions: usize,
}

impl Settings {
    /// Returns these settings with a number of partitions that fits the limit of records.
    pub(super) fn with_partitions(self) -> Self {
        let wanted = (self.max_records / RECORDS_OF_PARTITION).min(MAX_PARTITIONS) as usize;
        Self {
            partitions: wanted.max(PARTITIONS),
            ..self
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            max_records: 1_000_000,
            max_bytes: 512 << 20,
            max_tombstones: 1_000_000,
            tombstone_ttl: Duration::from_secs(60),
            refuses_when_full: false,
            partitions: PARTITIONS,
        }
    }
}
