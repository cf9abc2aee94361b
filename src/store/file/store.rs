//! The store as others see it: futures in front, threads behind.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Durability, FileError, FileStats, FileStoreBuilder,
    core::{Core, answer, named, off_thread, stepwise, write, write_together},
    disk::OsDisk,
    engine::lock,
    keeper::unhinted,
    lock::DirectoryLock,
    recover,
};
use crate::{
    clock::Clock,
    id::StoreKey,
    store::{
        Capabilities, Expected, ReadOutcome, Store, StoreError, StoreFuture, Tag, TagStore,
        WriteOutcome,
    },
};

/// Sessions in an append-only log in a directory of this machine. See the
/// [module's documentation](super).
///
/// Cloning is cheap, and clones are the same store. When the last one is dropped the store is
/// closed: everything is brought to the disk, the threads end and the directory is free for the
/// next process. That waits for the disk and cannot report a failure, so prefer
/// [`close`](Self::close).
#[derive(Clone)]
pub struct FileStore(Arc<Opened>);

struct Opened {
    core: Arc<Core>,
    /// The threads and the directory's lock; taken when the store is closed.
    background: Mutex<Option<Background>>,
}

struct Background {
    commits: Option<JoinHandle<()>>,
    keeper: JoinHandle<()>,
    _lock: DirectoryLock,
}

impl FileStore {
    /// Opens the store in `directory` with the default options, making the directory where it is
    /// missing. Blocks while the index is read.
    ///
    /// # Errors
    /// When the directory is in use or cannot be used, or its files cannot be trusted.
    ///
    /// ```
    /// use hyper_session::{id::SessionId, store::{Expected, FileStore, Read, Store}};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("file-store-doc-{}", std::process::id()));
    /// let key = SessionId::generate()?.store_key();
    /// let store = FileStore::open(&directory)?;
    /// let data = "{\"cart\":[7]}";
    /// store.write(&key, data.into(), Duration::from_secs(7200), Expected::Absent).await?;
    /// store.close().await?;
    ///
    /// let store = FileStore::open(&directory)?;
    /// assert!(matches!(store.read(&key, None).await?, Read::Found(record) if record.data == data));
    /// # drop(store);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::builder(directory).open()
    }

    /// The options of a store in `directory`.
    pub fn builder(directory: impl AsRef<Path>) -> FileStoreBuilder {
        FileStoreBuilder::new(directory.as_ref())
    }

    pub(super) fn open_with(options: FileStoreBuilder) -> Result<Self, FileError> {
        let directory = options.directory.clone();
        let fail = |error| FileError::io("use the directory", directory.clone(), error);
        let disk = OsDisk::at(&directory).map_err(fail)?;
        let directory_lock = DirectoryLock::take(&directory)?;
        let durability = options.durability;
        let core = Arc::new(Core::new(recover::open(Box::new(disk), options)?));
        let background = Background {
            commits: spawn_commits(&core, durability).map_err(fail)?,
            keeper: spawn("file-sessions", &core, |core| core.keeper.run(&core.engine))
                .map_err(fail)?,
            _lock: directory_lock,
        };
        let background = Mutex::new(Some(background));
        Ok(Self(Arc::new(Opened { core, background })))
    }

    /// The clock that expiry goes by.
    pub(super) fn clock(&self) -> &Clock {
        &self.0.core.engine.options.clock
    }

    /// The figures of this moment.
    pub fn stats(&self) -> FileStats {
        self.0.core.engine.stats()
    }

    /// Collects what has expired and cleans the whole log at once, so that it takes about as much
    /// disk as the live data. The store does this by itself as far as its bound on disk space
    /// asks; this is for those who want the space now. Progress is told by
    /// [`FileEvent::Cleaned`](super::FileEvent::Cleaned).
    ///
    /// # Errors
    /// When the disk fails or is full. What was cleaned until then stays so.
    pub fn compact(&self) -> StoreFuture<()> {
        let done = self.0.core.keeper.compact(&self.0.core.engine);
        StoreFuture::new(async move {
            let done = done.await.unwrap_or(Err(FileError::Closed));
            done.map_err(|error| StoreError::new("file", "compact", error))
        })
    }

    /// Brings everything that was acknowledged so far to the disk, whatever the durability mode.
    ///
    /// # Errors
    /// When the disk fails, now or earlier: see [`FileError::Poisoned`].
    pub fn flush(&self) -> StoreFuture<()> {
        let core = Arc::clone(&self.0.core);
        let flushed = core.in_turn(|core| core.engine.sync());
        StoreFuture::new(async move { named("flush", flushed.await) })
    }

    /// Ends the store: brings everything to the disk, writes the hint that makes the next opening
    /// quick, ends the threads and frees the directory. From the call on, every other operation
    /// is answered [`FileError::Closed`]. Closing again is answered when that is done, and does
    /// nothing.
    ///
    /// # Errors
    /// When data could not be brought to the disk. The store is closed all the same.
    pub fn close(&self) -> StoreFuture<()> {
        self.0.core.engine.shut();
        let opened = Arc::clone(&self.0);
        let closed = off_thread(move || opened.close());
        StoreFuture::new(async move { named("close", closed.await) })
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileStore")
            .field(&self.0.core.engine.disk.path())
            .finish()
    }
}

impl Opened {
    fn close(&self) -> Result<(), FileError> {
        let core = &self.core;
        // Kept, so that others who close it find it closed.
        let mut standing = lock(&self.background);
        let Some(background) = standing.take() else {
            return core.engine.check_poison();
        };
        core.engine.shut();
        core.engine.nudge.stop();
        core.commits.stop();
        for thread in [Some(background.keeper), background.commits] {
            // A listener may hold the last handle and so drop it on one of the threads.
            let other = thread.filter(|thread| thread.thread().id() != thread::current().id());
            let _ = other.map(JoinHandle::join);
        }
        let synced = core.engine.finish();
        if synced.is_ok() {
            let active = Arc::clone(&core.engine.lock_log().active);
            for segment in unhinted(&core.engine).into_iter().chain([active]) {
                // Without a hint the next opening takes longer.
                let _ = core.engine.write_hint(&segment);
            }
        }
        synced
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Nobody is there to be told; writers were, of whatever failed before.
        let _ = self.close();
    }
}

fn spawn(
    name: &str,
    core: &Arc<Core>,
    run: impl FnOnce(&Core) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let core = Arc::clone(core);
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(move || run(&core))
}

fn spawn_commits(
    core: &Arc<Core>,
    durability: Durability,
) -> std::io::Result<Option<JoinHandle<()>>> {
    match durability {
        Durability::Always => spawn("file-commits", core, |core| {
            core.commits.run_always(&core.engine);
        })
        .map(Some),
        Durability::Interval(interval) => spawn("file-commits", core, move |core| {
            core.commits.run_interval(&core.engine, interval);
        })
        .map(Some),
        Durability::Os => Ok(None),
    }
}

impl Store for FileStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let (core, key) = (&self.0.core, *key);
        // The touch, if any, is done by the first attempt.
        let first = core.read(&key, touch, false);
        stepwise(core, "read", first, move |core| core.read(&key, None, true))
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let core = &self.0.core;
        match core.engine.options.durability {
            Durability::Always => write_together(core, *key, data, ttl, expected),
            _ => write(core, *key, data, ttl, expected),
        }
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let core = &self.0.core;
        answer(core, "destroy", core.engine.destroy(key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let core = &self.0.core;
        answer(core, "touch", core.engine.touch(key, ttl))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            persistent: true,
            ..Capabilities::default()
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        StoreFuture::ready(Ok(Some(self.0.core.engine.index.records())))
    }
}

impl TagStore for FileStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let core = &self.0.core;
        answer(core, "tag", core.engine.tag(key, tag))
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let core = &self.0.core;
        answer(core, "untag", core.engine.untag(key, tag))
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let core = &self.0.core;
        answer(core, "list tagged", core.engine.tagged(tag))
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let core = &self.0.core;
        answer(core, "list tags", core.engine.live_tags(key))
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let core = &self.0.core;
        answer(core, "copy tags", core.engine.copy_tags(from, to))
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let core = &self.0.core;
        answer(core, "move tags", core.engine.move_tags(from, to))
    }
}
