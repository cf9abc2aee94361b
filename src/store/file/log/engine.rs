//! The store without threads and futures: what is known, and who may change it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    FileError, FileEvent, FileStats,
    cache::Cache,
    disk::Disk,
    index::{Entry, Index, Position},
    log::Log,
    names,
    nudge::Nudge,
    options::FileStoreBuilder,
    pace::Sizes,
    segment::Segment,
    stats::{Counters, add},
    tags::TagTable,
};
use crate::{clock::Timestamp, id::StoreKey};

/// The whole state of an open store.
///
/// Locks are taken in this order: `turn`, `log`, then `tags`, `segments` or a shard of the index,
/// and of these last only one at a time.
pub(super) struct Engine {
    pub(super) disk: Box<dyn Disk>,
    pub(super) options: FileStoreBuilder,
    /// Changed only under the `log` lock, so whoever holds that sees it stand still.
    pub(super) index: Index,
    /// Changed only under the `log` lock.
    pub(super) tags: Mutex<TagTable>,
    /// All segments, the prepared one included; changed only under the `log` lock.
    pub(super) segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    pub(super) log: Mutex<Log>,
    /// Whoever brings data to the disk: one at a time.
    pub(super) turn: Mutex<()>,
    /// Everything before this [`Position`] is durable.
    pub(super) durable: AtomicU64,
    /// Set once, when data could not be brought to the disk.
    poison: OnceLock<Arc<str>>,
    closed: AtomicBool,
    pub(super) counters: Counters,
    /// Work that mutations owe the cleaner, in bytes; see [`pace`](super::pace).
    pub(super) debt: AtomicU64,
    /// How much may be owed while nobody waits.
    pub(super) patience: AtomicU64,
    pub(super) cache: Cache,
    /// Wakes the background thread.
    pub(super) nudge: Nudge,
}

/// What a key stands for at a moment.
pub(super) enum Standing {
    Live(Entry),
    Tombstone(Entry),
    Nothing,
}

impl Engine {
    pub(super) fn new(
        disk: Box<dyn Disk>,
        options: FileStoreBuilder,
        index: Index,
        tags: TagTable,
        segments: BTreeMap<u32, Arc<Segment>>,
        log: Log,
        counters: Counters,
    ) -> Self {
        Self {
            durable: AtomicU64::new(Position::default().pack()),
            cache: Cache::new(options.cache_bytes),
            disk,
            options,
            index,
            tags: Mutex::new(tags),
            segments: RwLock::new(segments),
            log: Mutex::new(log),
            turn: Mutex::new(()),
            poison: OnceLock::new(),
            closed: AtomicBool::new(false),
            counters,
            debt: AtomicU64::new(0),
            patience: AtomicU64::new(0),
            nudge: Nudge::default(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn lock_log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// The log, for a change that is not certain to be refused.
    pub(super) fn writable(&self) -> Result<MutexGuard<'_, Log>, FileError> {
        let log = self.lock_log();
        self.check_open()?;
        self.check_poison()?;
        Ok(log)
    }

    pub(super) fn check_open(&self) -> Result<(), FileError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(FileError::Closed);
        }
        Ok(())
    }

    /// From here on nothing is answered any more but [`FileError::Closed`].
    pub(super) fn shut(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn check_poison(&self) -> Result<(), FileError> {
        match self.poison.get() {
            None => Ok(()),
            Some(reason) => Err(FileError::Poisoned {
                path: self.disk.path().to_path_buf(),
                reason: Arc::clone(reason),
            }),
        }
    }

    /// Refuses writes from now on, because of `error`, which is returned as what callers get.
    pub(super) fn poison(&self, error: &std::io::Error) -> FileError {
        let reason: Arc<str> = error.to_string().into();
        let error = FileError::Poisoned {
            path: self.disk.path().to_path_buf(),
            reason: Arc::clone(&reason),
        };
        if self.poison.set(reason).is_ok() {
            self.tell(&FileEvent::Poisoned { error: &error });
        }
        error
    }

    pub(super) fn tell(&self, event: &FileEvent<'_>) {
        if let Some(events) = &self.options.events {
            events.on(event);
        }
    }

    pub(super) fn standing(&self, key: &StoreKey, now: Timestamp) -> Standing {
        match self.index.get(key) {
            Some(entry) if entry.expires <= now => Standing::Nothing,
            Some(entry) if entry.tombstone => Standing::Tombstone(entry),
            Some(entry) => Standing::Live(entry),
            None => Standing::Nothing,
        }
    }

    pub(super) fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&id).map(Arc::clone)
    }

    /// Whether what stands at `at` would survive a power failure now.
    pub(super) fn is_durable(&self, at: Position) -> bool {
        at.pack() < self.durable.load(Ordering::Acquire)
    }

    /// Puts `entry` under `key` and accounts for it. `alone` says that earlier tags do not count.
    pub(super) fn place(&self, log: &mut Log, key: StoreKey, entry: Entry, alone: bool) {
        let before = self.index.insert(key, entry);
        log.sizes.live += entry.weight();
        self.forget(log, before, alone.then_some(&key));
    }

    /// Takes `key` and its tags out of the index.
    pub(super) fn drop_key(&self, log: &mut Log, key: &StoreKey) {
        let before = self.index.remove(key);
        self.forget(log, before, Some(key));
    }

    fn forget(&self, log: &mut Log, before: Option<Entry>, untag: Option<&StoreKey>) {
        let tags = untag.map_or(0, |key| lock(&self.tags).clear(key));
        let weight = before.map_or(0, |entry| entry.weight());
        log.sizes.live = log.sizes.live.saturating_sub(weight + tags);
    }

    /// Whether so much is owed that mutations wait.
    pub(super) fn is_overdue(&self) -> bool {
        self.debt.load(Ordering::Relaxed) > self.patience.load(Ordering::Relaxed)
    }

    /// Accounts for a mutation that began at `before`: what it owes the cleaner is added up.
    pub(super) fn settle(&self, log: &Log, before: Sizes) {
        let owed = log.sizes.owed(before, self.options.segment_bytes);
        if owed > 0 {
            let patience = log.sizes.patience(self.options.segment_bytes);
            self.patience.store(patience, Ordering::Relaxed);
            self.debt.fetch_add(owed, Ordering::Relaxed);
            self.nudge.give();
        }
    }

    /// Counts and reports damage in a segment.
    pub(super) fn damaged(&self, segment: u32, offset: u64, bytes: u64) {
        add(&self.counters.damaged, 1);
        let path = self.disk.locate(&names::segment(segment));
        self.tell(&FileEvent::Damaged {
            path: &path,
            offset,
            bytes,
        });
    }

    pub(super) fn stats(&self) -> FileStats {
        let sizes = self.lock_log().sizes;
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        FileStats {
            records: self.index.records(),
            tombstones: self.index.tombstones(),
            segments: segments.len() as u64,
            tagged: lock(&self.tags).tagged_sessions() as u64,
            disk_bytes: sizes.total,
            live_bytes: sizes.live,
            disk_limit: sizes.limit(self.options.segment_bytes),
            ..self.counters.stats()
        }
    }
}

/// What these locks guard is whole between any two statements that could panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
