//! Statistics of a file store.

use std::sync::atomic::{AtomicU64, Ordering};

/// Statistics of a file store at one moment.
///
/// The counters of compactions, expiry, syncs and waits start at zero when the store is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStats {
    /// Records in the index, including expired ones that are not collected yet.
    pub records: u64,
    /// Tombstones in the index, including expired ones that are not collected yet.
    pub tombstones: u64,
    /// Sessions that have a tag.
    pub tagged: u64,
    /// Records that a key other than the first key of the ring encrypted, including expired ones that are
    /// not collected yet. If it is 0, the store needs no previous key. Without a ring, all encrypted
    /// records count.
    pub previous_key: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment and hint files.
    pub disk_bytes: u64,
    /// Bytes of the frames that are in use: records with their tags, and tombstones.
    pub live_bytes: u64,
    /// The limit of [`disk_bytes`](Self::disk_bytes): twice the live bytes and one segment.
    pub disk_limit: u64,
    /// Bytes of the writes that wait for the disk, with [`Durability::Always`](super::Durability::Always).
    pub backlog_bytes: u64,
    /// Damaged places that were found, at opening or later.
    pub damaged: u64,
    /// Bytes of incomplete appends that were cut off at opening.
    pub torn_bytes: u64,
    /// Records and tombstones that the opening dropped because damage may hide a newer state of their
    /// session. See [`OnDamage::DropUncertain`](super::OnDamage::DropUncertain).
    pub dropped: u64,
    /// Hint files that were used at opening.
    pub hints_used: u64,
    /// Segments that were compacted.
    pub compacted_segments: u64,
    /// Bytes that compactions copied because they were live.
    pub compacted_kept_bytes: u64,
    /// Bytes of the segments that compactions deleted.
    pub compacted_bytes: u64,
    /// Expired records and tombstones that were collected.
    pub expired: u64,
    /// Syncs of data to the disk.
    pub syncs: u64,
    /// The number of times that a mutation waited for a compaction to make room.
    pub waits: u64,
}

/// The counters that only increase.
#[derive(Default)]
pub(crate) struct FileCounters {
    pub(crate) damaged: AtomicU64,
    pub(crate) torn_bytes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) hints_used: AtomicU64,
    pub(crate) compacted_segments: AtomicU64,
    pub(crate) compacted_kept_bytes: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) waits: AtomicU64,
}

/// Adds `amount` to `counter`.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl FileCounters {
    /// Returns the counters as statistics; all other fields are zero.
    pub(crate) fn stats(&self) -> FileStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FileStats {
            damaged: get(&self.damaged),
            torn_bytes: get(&self.torn_bytes),
            dropped: get(&self.dropped),
            hints_used: get(&self.hints_used),
            compacted_segments: get(&self.compacted_segments),
            compacted_kept_bytes: get(&self.compacted_kept_bytes),
            compacted_bytes: get(&self.compacted_bytes),
            expired: get(&self.expired),
            syncs: get(&self.syncs),
            waits: get(&self.waits),
            ..FileStats::default()
        }
    }
}
