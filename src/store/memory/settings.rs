//! Settings of the memory store.

use std::time::Duration;

use crate::clock::Clock;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) clock: Clock,
    pub(super) max_records: u64,
    pub(super) max_bytes: u64,
    pub(super) max_tombstones: u64,
    pub(super) tombstone_ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            max_records: 1_000_000,
            max_bytes: 512 << 20,
            max_tombstones: 1_000_000,
            tombstone_ttl: Duration::from_secs(60),
        }
    }
}
