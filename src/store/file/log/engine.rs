//! The state of an open store: the log, the index and the cache.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    append_log::AppendLog,
    cache::RecordCache,
    index::{Index, IndexEntry, Position},
    log_writer::LogWriter,
    space::SpaceUsage,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{
        Tags,
        file::stats::{FileStats, add},
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
    /// Compaction work that mutations have caused, in bytes to read; see [`space`](super::space).
    debt: AtomicU64,
    /// The debt above which mutations wait.
    max_debt: AtomicU64,
}

/// The state of a key at one moment.
pub(crate) enum EntryState {
    Live(IndexEntry),
    Tombstone(IndexEntry),
    Absent,
}

impl FileEngine {
    pub(crate) fn new(log: AppendLog, index: Index) -> Self {
        Self {
            cache: RecordCache::new(log.options().cache_bytes),
            log,
            index,
            debt: AtomicU64::new(0),
            max_debt: AtomicU64::new(0),
        }
    }

    pub(crate) fn entry_state(&self, key: &StoreKey, now: Timestamp) -> EntryState {
        match self.index.get(key) {
            Some(entry) if entry.expires <= now => EntryState::Absent,
            Some(entry) if entry.tombstone => EntryState::Tombstone(entry),
            Some(entry) => EntryState::Live(entry),
            None => EntryState::Absent,
        }
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

    /// Adds the debt of a mutation that began at disk usage `before`.
    pub(super) fn add_debt(&self, writer: &LogWriter, before: SpaceUsage) {
        let segment = self.log.options().segment_bytes;
        let debt = writer.usage().debt(before, segment);
        if debt > 0 {
            let max_debt = writer.usage().max_debt(segment);
            self.max_debt.store(max_debt, Ordering::Relaxed);
            self.debt.fetch_add(debt, Ordering::Relaxed);
            self.log.wakeup().notify();
        }
    }

    /// Subtracts compaction work of `bytes` from the debt.
    pub(crate) fn pay_debt(&self, bytes: u64) {
        let subtract = |debt: u64| Some(debt.saturating_sub(bytes));
        let _ = self
            .debt
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract);
    }

    pub(crate) fn clear_debt(&self) {
        self.debt.store(0, Ordering::Relaxed);
    }

    /// Returns `true` if mutations caused compaction work that is not done yet.
    pub(crate) fn has_debt(&self) -> bool {
        self.debt.load(Ordering::Relaxed) > 0
    }

    /// Returns `true` if the debt is so large that mutations wait.
    pub(crate) fn is_overdue(&self) -> bool {
        self.debt.load(Ordering::Relaxed) > self.max_debt.load(Ordering::Relaxed)
    }

    /// Collects expired entries from one shard of the index; returns their number.
    pub(crate) fn collect_expired(&self, shard: usize) -> u64 {
        let mut writer = self.log.lock();
        let now = self.log.now();
        let expired = self.index_drain(&mut writer, shard, |_, entry| entry.expires <= now);
        if expired > 0 {
            // Optional: it matters only if the clock is set back and the process is killed.
            let _ = self.log.record_time(&mut writer);
        }
        drop(writer);
        add(&self.log.counters().expired, expired);
        expired
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
            disk_bytes: usage.total,
            live_bytes: usage.live,
            disk_limit: usage.limit(self.log.options().segment_bytes),
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
