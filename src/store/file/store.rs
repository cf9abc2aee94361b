//! The public handle of the store, and its threads.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    async_ops::{
        Attempt, FileInner, read_record, run, run_blocking, store_result, write_grouped,
        write_single,
    },
    disk::{dir_lock::DirectoryLock, os::OsDisk},
    error::FileError,
    event::FileEvent,
    log::index::INDEX_SHARDS,
    options::{Durability, Options},
    recover,
    stats::FileStats,
};
use crate::{
    clock::Clock,
    id::StoreKey,
    store::{
        Capabilities, InvalidCursor, ReadOutcome, ScanCursor, ScanPage, ScanStore, Store,
        StoreError, StoreFuture, StoreStat, Tag, TagStore, WriteOutcome, WriteRequest,
    },
    sync::lock,
};

/// A store that keeps sessions in an append-only log in a local directory. See the
/// [module documentation](super).
///
/// Clones are cheap and share the same store. Dropping the last clone closes the store. It syncs all
/// data, ends the threads and releases the directory. That blocks and cannot report a failure, so
/// prefer [`close`](Self::close).
#[doc(alias = "FileSessionStorage")]
#[derive(Clone)]
pub struct FileStore(Arc<OpenStore>);

/// An open store. It is closed on drop.
pub(super) struct OpenStore {
    inner: Arc<FileInner>,
    /// `None` after the store was closed.
    background: Mutex<Option<Background>>,
}

/// The threads and the lock of an open store.
struct Background {
    threads: Vec<JoinHandle<()>>,
    _lock: DirectoryLock,
}

/// The work of a thread, and the function that starts the thread under a name.
type ThreadWork = Box<dyn FnOnce() + Send>;
pub(super) type SpawnThread = fn(&str, ThreadWork) -> io::Result<JoinHandle<()>>;

impl FileStore {
    pub(super) fn open_with(directory: &Path, options: Options) -> Result<Self, FileError> {
        let fail = |error| FileError::io("use the directory", directory.to_path_buf(), error);
        let mut disk = OsDisk::create(directory).map_err(fail)?;
        let (directory_lock, refusal) = DirectoryLock::acquire(&mut disk)?;
        if let Some(error) = refusal {
            let (path, error) = (directory, &error);
            options.emit(&FileEvent::DirectoryNotLocked { path, error });
        }
        let engine = recover::open::open(Box::new(disk), options)?;
        let inner = Arc::new(FileInner::new(engine));
        let open = OpenStore::start(inner, directory_lock, spawn_thread).map_err(fail)?;
        Ok(Self(Arc::new(open)))
    }

    /// Returns the clock that determines expiry.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.inner.engine.log.options().clock
    }

    /// Returns the current statistics.
    pub fn stats(&self) -> FileStats {
        let inner = &self.0.inner;
        FileStats {
            backlog_bytes: inner.group_commit.backlog_bytes(),
            ..inner.engine.stats()
        }
    }

    /// Collects all expired entries and compacts the whole log, so that it takes about as much disk
    /// space as the live data.
    ///
    /// The store compacts by itself as far as its limit on disk space requires. Call this to free the
    /// space now. [`FileEvent::Compacted`](super::FileEvent::Compacted) reports the progress.
    /// If mutations take the room as fast as the compaction frees it, some expired entries may stay.
    ///
    /// Records that a previous key of the ring encrypted are encrypted with the first key. After a
    /// rotation of keys, the store then does not need the previous key.
    ///
    /// # Errors
    /// If the disk fails or is full. Segments that were compacted before stay compacted.
    pub fn compact(&self) -> StoreFuture<()> {
        let inner = &self.0.inner;
        let receiver = inner.maintenance.compact(&inner.engine);
        StoreFuture::new(async move {
            let compacted = receiver.await.unwrap_or(Err(FileError::Closed));
            compacted.map_err(|error| StoreError::new("file", "compact", error))
        })
    }

    /// Syncs every acknowledged write to the disk, in every durability mode.
    ///
    /// # Errors
    /// If the disk fails or has failed before. See [`FileError::Poisoned`].
    pub fn flush(&self) -> StoreFuture<()> {
        let inner = Arc::clone(&self.0.inner);
        let flushed = inner.run_blocking_limited(|inner| {
            inner.engine.log.check_open()?;
            inner.engine.log.sync()
        });
        StoreFuture::new(async move { store_result("flush", flushed.await) })
    }

    /// Closes the store: syncs all data, writes the hint that makes the next opening fast, ends the
    /// threads and releases the directory.
    ///
    /// After the call, all other operations fail with [`FileError::Closed`]. Further calls complete
    /// when the store is closed, and do nothing else.
    ///
    /// # Errors
    /// If data cannot be written to the disk, or the store has stopped before. See [`FileError::Panicked`]. The store
    /// is closed even then.
    pub fn close(&self) -> StoreFuture<()> {
        self.0.inner.engine.log.mark_closed();
        let open = Arc::clone(&self.0);
        let closed = run_blocking(move || open.close());
        StoreFuture::new(async move { store_result("close", closed.await) })
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileStore")
            .field(&self.0.inner.engine.log.disk().path())
            .finish()
    }
}

impl OpenStore {
    /// Starts the threads. If that fails, the store is closed, which ends those that were started.
    pub(super) fn start(
        inner: Arc<FileInner>,
        directory_lock: DirectoryLock,
        spawn: SpawnThread,
    ) -> io::Result<Self> {
        let works = [
            commit_work(&inner).map(|work| ("file-commits", work)),
            Some(("file-sessions", maintenance_work(&inner))),
        ];
        let mut threads = Vec::new();
        let mut works = works.into_iter().flatten();
        let started = works.try_for_each(|(name, work)| {
            threads.push(spawn(name, work)?);
            Ok(())
        });
        let background = Mutex::new(Some(Background {
            threads,
            _lock: directory_lock,
        }));
        let open = Self { inner, background };
        started.map(|()| open)
    }

    fn close(&self) -> Result<(), FileError> {
        let inner = &self.inner;
        let log = &inner.engine.log;
        // The lock is held until the end, so that concurrent calls return only when the store is
        // closed.
        let mut guard = lock(&self.background);
        let Some(background) = guard.take() else {
            return log.check_poison();
        };
        log.mark_closed();
        log.wakeup().stop();
        inner.group_commit.stop();
        for thread in background.threads {
            // A listener may own the last handle and drop it on one of these threads.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
        let synced = log.finish();
        if synced.is_ok() {
            let active = Arc::clone(log.lock().active());
            // Without a hint the next opening takes longer.
            for segment in log.segments_without_hint() {
                let _ = log.write_hint(&segment);
            }
            let _ = log.write_last_hint(&active);
        }
        synced
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        // The error cannot be returned. A failure before was reported to its writer.
        let _ = self.close();
    }
}

/// Returns the work of the commit thread, if the durability needs one.
fn commit_work(inner: &Arc<FileInner>) -> Option<ThreadWork> {
    let inner = Arc::clone(inner);
    match inner.engine.log.options().durability {
        Durability::Always => Some(Box::new(move || {
            inner.group_commit.run_always(&inner.engine);
        })),
        Durability::Interval(interval) => Some(Box::new(move || {
            inner.group_commit.run_interval(&inner.engine, interval);
        })),
        Durability::Os => None,
    }
}

fn maintenance_work(inner: &Arc<FileInner>) -> ThreadWork {
    let inner = Arc::clone(inner);
    Box::new(move || inner.maintenance.run(&inner.engine))
}

fn spawn_thread(name: &str, work: ThreadWork) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

impl Store for FileStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        read_record(&self.0.inner, *key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let inner = &self.0.inner;
        match inner.engine.log.options().durability {
            Durability::Always => write_grouped(inner, request),
            _ => write_single(inner, request),
        }
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        run(&self.0.inner, "destroy", move |inner, _| {
            inner.engine.destroy(&key).map(Attempt::Done)
        })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        run(&self.0.inner, "touch", move |inner, _| {
            inner.engine.touch(&key, ttl).map(Attempt::Done)
        })
    }

    fn name(&self) -> &'static str {
        "file"
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        let stats = self.stats();
        let name = self.name();
        report(name, StoreStat::Gauge("store_records", stats.records));
        report(name, StoreStat::Gauge("store_tombstones", stats.tombstones));
        report(name, StoreStat::Gauge("store_bytes", stats.live_bytes));
        report(
            name,
            StoreStat::Counter("store_expired_total", stats.expired),
        );
        report(name, StoreStat::Gauge("file_disk_bytes", stats.disk_bytes));
        report(
            name,
            StoreStat::Gauge("file_disk_limit_bytes", stats.disk_limit),
        );
        report(name, StoreStat::Gauge("file_segments", stats.segments));
        report(
            name,
            StoreStat::Gauge("file_backlog_bytes", stats.backlog_bytes),
        );
        report(name, StoreStat::Gauge("file_damaged_places", stats.damaged));
        report(
            name,
            StoreStat::Gauge("file_previous_key_records", stats.previous_key),
        );
        report(name, StoreStat::Counter("file_syncs_total", stats.syncs));
        report(name, StoreStat::Counter("file_waits_total", stats.waits));
        report(
            name,
            StoreStat::Counter("file_compacted_segments_total", stats.compacted_segments),
        );
        report(
            name,
            StoreStat::Counter("file_compacted_bytes_total", stats.compacted_bytes),
        );
        report(
            name,
            StoreStat::Counter("file_copied_bytes_total", stats.compacted_kept_bytes),
        );
    }

    fn capabilities(&self) -> Capabilities {
        let options = self.0.inner.engine.log.options();
        Capabilities {
            tombstone_ttl: Some(options.tombstone_ttl),
            persistent: true,
            ..Capabilities::default()
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn flush(&self) -> StoreFuture<()> {
        Self::flush(self)
    }

    fn close(&self) -> StoreFuture<()> {
        Self::close(self)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        let engine = &self.0.inner.engine;
        let counted = engine.log.check_open().map(|()| engine.index.records());
        StoreFuture::ready(store_result("count", counted.map(Some)))
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        Some(self)
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        let engine = &self.0.inner.engine;
        let time = engine.log.check_open().map(|()| engine.time_to_live(key));
        StoreFuture::ready(store_result("read", time))
    }
}

impl ScanStore for FileStore {
    /// Returns the sessions of one part of the index in memory. A scan has 256 pages.
    fn scan_page(&self, from: Option<&ScanCursor>) -> StoreFuture<ScanPage> {
        let engine = &self.0.inner.engine;
        if let Err(error) = engine.log.check_open() {
            return StoreFuture::ready(store_result("scan", Err(error)));
        }
        let shard = match from {
            None => Some(0),
            Some(from) => from.number().and_then(|shard| usize::try_from(shard).ok()),
        };
        let Some(shard) = shard.filter(|shard| *shard < INDEX_SHARDS) else {
            return StoreFuture::ready(Err(StoreError::new("file", "scan", InvalidCursor)));
        };
        let next = (shard + 1 < INDEX_SHARDS).then(|| ScanCursor::from_number(shard as u64 + 1));
        StoreFuture::ready(Ok(ScanPage::new(engine.live_keys(shard), next)))
    }
}

impl TagStore for FileStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        run(&self.0.inner, "list tagged", move |inner, _| {
            inner.engine.tagged(&tag).map(Attempt::Done)
        })
    }
}
