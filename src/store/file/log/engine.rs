//! The state of an open store: the log, the index and the cache.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    append_log::AppendLog,
    cache::RecordCache,
    index::{Index, IndexEntry, Position},
    log_writer::LogWriter,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{
        Tags,
        file::{
            error::FileError,
            stats::{FileStats, add},
        },
    },
};

/// An answer, and the log position that must be durable before the answer may be returned.
pub(crate) type PendingAnswer<T> = (T, Position);

/// The state of an open store.
///
/// Locks are taken in this order: those of the log, then one shard of the index.
pub(crate) struct FileEngine {
    pub(crate) log: AppendLog,
    /// Changed only under the log's lock; a holder of that lock sees no concurrent change.
    pub(crate) index: Index,
    pub(super) cache: RecordCache,
    /// Compaction should not pause, because mutations may soon have to wait for it.
    tight: AtomicBool,
    /// The last compaction failed, so mutations do not wait for the next one.
    pub(crate) compaction_failed: AtomicBool,
}

/// The state of a key at one moment.
pub(crate) enum EntryState {
    Live(IndexEntry),
    Tombstone(IndexEntry),
    Absent,
}

impl EntryState {
    /// Returns the state at `now` of a key with this index entry.
    pub(super) fn at(now: Timestamp, entry: Option<IndexEntry>) -> Self {
        match entry {
            Some(entry) if entry.expires <= now => Self::Absent,
            Some(entry) if entry.tombstone => Self::Tombstone(entry),
            Some(entry) => Self::Live(entry),
            None => Self::Absent,
        }
    }
}

impl FileEngine {
    pub(crate) fn new(log: AppendLog, index: Index) -> Self {
        Self {
            cache: RecordCache::new(log.options().cache_bytes),
            log,
            index,
            tight: AtomicBool::new(false),
            compaction_failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn entry_state(&self, key: &StoreKey, now: Timestamp) -> EntryState {
        EntryState::at(now, self.index.get(key))
    }

    /// Returns the remaining time to live of a live record.
    pub(crate) fn time_to_live(&self, key: &StoreKey) -> Option<Duration> {
        let now = self.log.now();
        match self.entry_state(key, now) {
            EntryState::Live(entry) => Some(entry.expires.duration_since(now)),
            EntryState::Tombstone(_) | EntryState::Absent => None,
        }
    }

    /// Returns the keys of the live records in one shard of the index.
    pub(crate) fn live_keys(&self, shard: usize) -> Vec<StoreKey> {
        let now = self.log.now();
        let is_live = |entry: &IndexEntry| !entry.tombstone && entry.expires > now;
        self.index.keys(shard, is_live)
    }

    /// Sets the index entry and the tags of `key`.
    pub(super) fn index_insert(
        &self,
        writer: &mut LogWriter,
        key: StoreKey,
        entry: IndexEntry,
        tags: &Tags,
    ) {
        let previous = self.index.insert(key, entry);
        writer.adjust_live(
            entry.live_bytes(),
            previous.map_or(0, |previous| previous.live_bytes()),
        );
        if entry.tagged || previous.is_some_and(|previous| previous.tagged) {
            writer.tags.set(&key, tags);
        }
    }

    /// Removes `key` and its tags from the index.
    pub(crate) fn index_remove(&self, writer: &mut LogWriter, key: &StoreKey) {
        if let Some(removed) = self.index.remove(key) {
            account_removed(writer, key, &removed);
        }
    }

    /// Removes the entries of one index shard for which `remove` returns `true`, and their tags.
    /// Returns their number.
    pub(crate) fn index_drain(
        &self,
        writer: &mut LogWriter,
        shard: usize,
        remove: impl Fn(&StoreKey, &IndexEntry) -> bool,
    ) -> u64 {
        let removed = self.index.drain(shard, remove);
        for (key, entry) in &removed {
            account_removed(writer, key, entry);
        }
        removed.len() as u64
    }

    /// Checks the limit on disk space after a mutation, and wakes the maintenance thread if the log needs a
    /// compaction.
    pub(crate) fn finish_mutation(&self, writer: &LogWriter) -> Result<(), FileError> {
        let usage = writer.usage();
        if usage.needs_compaction() {
            self.tight.store(usage.is_tight(), Ordering::Relaxed);
            self.log.wakeup().notify();
        }
        self.log.check_limit(usage)
    }

    /// Returns `true` if compaction should not pause.
    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// Determines again if compaction should pause.
    pub(crate) fn update_tight(&self) {
        let is_tight = self.log.lock().usage().is_tight();
        self.tight.store(is_tight, Ordering::Relaxed);
    }

    /// Collects expired entries from one shard of the index, as far as there is room for more garbage.
    /// Returns their number, and `true` if no expired entry is left.
    pub(crate) fn collect_expired(&self, shard: usize) -> (u64, bool) {
        let mut writer = self.log.lock();
        let now = self.log.now();
        let (usage, complete) = (Cell::new(writer.usage()), Cell::new(true));
        let expired = self.index_drain(&mut writer, shard, |_, entry| {
            if entry.expires > now {
                return false;
            }
            let after = usage.get().after_change(0, entry.live_bytes());
            if after.fits() {
                usage.set(after);
            } else {
                complete.set(false);
            }
            after.fits()
        });
        writer.has_unrecorded_expiry |= expired > 0 || !complete.get();
        // Optional: it matters only if the clock is set back and the process is killed.
        let _ = self.log.record_time(&mut writer);
        drop(writer);
        add(&self.log.counters().expired, expired);
        (expired, complete.get())
    }

    pub(crate) fn stats(&self) -> FileStats {
        let (usage, tagged) = {
            let writer = self.log.lock();
            (writer.usage(), writer.tags.len() as u64)
        };
        FileStats {
            records: self.index.records(),
            tombstones: self.index.tombstones(),
            segments: self.log.segment_count() as u64,
            tagged,
            previous_key: self.index.other_key_records(),
            disk_bytes: usage.total,
            live_bytes: usage.live,
            disk_limit: usage.limit(),
            ..self.log.counters().stats()
        }
    }
}

fn account_removed(writer: &mut LogWriter, key: &StoreKey, removed: &IndexEntry) {
    writer.adjust_live(0, removed.live_bytes());
    if removed.tagged {
        writer.tags.remove(key);
    }
}
