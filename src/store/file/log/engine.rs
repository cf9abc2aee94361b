//! The state of an open store: the log, the index, the tags and the cache.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use super::{
    append_log::AppendLog,
    cache::DataCache,
    index::{Index, IndexEntry, Position},
    log_writer::LogWriter,
    space::SpaceUsage,
    tag_table::TagTable,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::file::stats::{FileStats, add},
    sync::lock,
};

/// An answer, and the log position that must be durable before the answer may be returned.
pub(crate) type PendingAnswer<T> = (T, Position);

/// The state of an open store.
///
/// Locks are taken in this order: those of the log, then `tags` or one shard of the index. Tags and
/// a shard are never locked together.
pub(crate) struct FileEngine {
    pub(crate) log: AppendLog,
    /// Changed only under the log's lock; a holder of that lock sees no concurrent change.
    pub(crate) index: Index,
    /// Changed only under the log's lock.
    tags: Mutex<TagTable>,
    pub(super) cache: DataCache,
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
    pub(crate) fn new(log: AppendLog, index: Index, tags: TagTable) -> Self {
        Self {
            cache: DataCache::new(log.options().cache_bytes),
            log,
            index,
            tags: Mutex::new(tags),
            debt: AtomicU64::new(0),
            max_debt: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock_tags(&self) -> MutexGuard<'_, TagTable> {
        lock(&self.tags)
    }

    pub(crate) fn entry_state(&self, key: &StoreKey, now: Timestamp) -> EntryState {
        match self.index.get(key) {
            Some(entry) if entry.expires <= now => EntryState::Absent,
            Some(entry) if entry.tombstone => EntryState::Tombstone(entry),
            Some(entry) => EntryState::Live(entry),
            None => EntryState::Absent,
        }
    }

    /// Sets the index entry of `key`. With `clear_tags`, earlier tags of the key are removed.
    pub(super) fn index_insert(
        &self,
        writer: &mut LogWriter,
        key: StoreKey,
        entry: IndexEntry,
        clear_tags: bool,
    ) {
        let previous = self.index.insert(key, entry);
        writer.adjust_live(entry.live_bytes(), 0);
        self.account_removed(writer, previous, clear_tags.then_some(&key));
    }

    /// Removes `key` and its tags from the index.
    pub(crate) fn index_remove(&self, writer: &mut LogWriter, key: &StoreKey) {
        let previous = self.index.remove(key);
        self.account_removed(writer, previous, Some(key));
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
            self.account_removed(writer, Some(*entry), Some(key));
        }
        removed.len() as u64
    }

    fn account_removed(
        &self,
        writer: &mut LogWriter,
        entry: Option<IndexEntry>,
        untag: Option<&StoreKey>,
    ) {
        let tag_bytes = untag.map_or(0, |key| self.lock_tags().clear(key));
        let entry_bytes = entry.map_or(0, |entry| entry.live_bytes());
        writer.adjust_live(0, entry_bytes + tag_bytes);
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
        drop(writer);
        add(&self.log.counters().expired, expired);
        expired
    }

    pub(crate) fn stats(&self) -> FileStats {
        let usage = self.log.lock().usage();
        FileStats {
            records: self.index.records(),
            tombstones: self.index.tombstones(),
            segments: self.log.segment_count() as u64,
            tagged: self.lock_tags().tagged_sessions() as u64,
            disk_bytes: usage.total,
            live_bytes: usage.live,
            disk_limit: usage.limit(self.log.options().segment_bytes),
            ..self.log.counters().stats()
        }
    }
}
