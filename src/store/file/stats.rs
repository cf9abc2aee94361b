//! The store in figures.

use std::sync::atomic::{AtomicU64, Ordering};

/// The figures of a file store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStats {
    /// Records in the index, those included that have expired and are not yet collected.
    pub records: u64,
    /// Tombstones in the index, likewise.
    pub tombstones: u64,
    /// Sessions that carry a tag.
    pub tagged: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment and hint files.
    pub disk_bytes: u64,
    /// Bytes of the frames that the index points to, tags included.
    pub live_bytes: u64,
    /// The most that [`disk_bytes`](Self::disk_bytes) may be: twice the live bytes and a segment.
    pub disk_limit: u64,
    /// Damaged places found since the store was opened, at opening or later.
    pub damaged: u64,
    /// Bytes of unfinished appends that were cut off at opening.
    pub torn_bytes: u64,
    /// Hint files that were used at opening.
    pub hints_used: u64,
    /// Segments cleaned since the store was opened.
    pub cleaned_segments: u64,
    /// Bytes that were copied out of them.
    pub cleaned_kept_bytes: u64,
    /// Bytes that were freed by deleting them.
    pub cleaned_bytes: u64,
    /// Expired records and tombstones collected since the store was opened.
    pub expired: u64,
    /// Times that data was brought to the disk since the store was opened.
    pub syncs: u64,
    /// Mutations that waited for the cleaner since the store was opened.
    pub waits: u64,
}

/// What is only ever counted up.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) damaged: AtomicU64,
    pub(super) torn_bytes: AtomicU64,
    pub(super) hints_used: AtomicU64,
    pub(super) cleaned_segments: AtomicU64,
    pub(super) cleaned_kept_bytes: AtomicU64,
    pub(super) cleaned_bytes: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) waits: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    /// The figures that are counted; those that are looked up stay zero.
    pub(super) fn stats(&self) -> FileStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FileStats {
            damaged: get(&self.damaged),
            torn_bytes: get(&self.torn_bytes),
            hints_used: get(&self.hints_used),
            cleaned_segments: get(&self.cleaned_segments),
            cleaned_kept_bytes: get(&self.cleaned_kept_bytes),
            cleaned_bytes: get(&self.cleaned_bytes),
            expired: get(&self.expired),
            syncs: get(&self.syncs),
            waits: get(&self.waits),
            ..FileStats::default()
        }
    }
}
