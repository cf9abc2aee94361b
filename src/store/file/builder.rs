//! Opening a store with options.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    encryption::RecordCipher,
    error::FileError,
    event::FileEventListener,
    options::{Durability, OnDamage, Options},
    store::FileStore,
};
use crate::{clock::Clock, seal::KeyRing};

/// The options of a [`FileStore`], created by [`FileStore::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until open() is called"]
pub struct FileStoreBuilder {
    directory: PathBuf,
    pub(super) options: Options,
}

impl FileStore {
    /// Opens the store in `directory` with the default options. Creates the directory if it does not
    /// exist. Blocks while the index is read.
    ///
    /// # Errors
    /// If the directory is in use or unusable, or its files are damaged or incomplete.
    ///
    /// # Examples
    /// ```
    /// use hyper_session::{
    ///     id::SessionId,
    ///     store::{Expected, FileStore, ReadOutcome, Store, WriteRequest},
    /// };
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("file-store-doc-{}", std::process::id()));
    /// let key = SessionId::generate()?.store_key();
    /// let store = FileStore::open(&directory)?;
    /// let data = "{\"cart\":[7]}";
    /// let hours = Duration::from_secs(7200);
    /// store.write(WriteRequest::new(&key, data, hours, Expected::Absent)).await?;
    /// store.close().await?;
    ///
    /// let store = FileStore::open(&directory)?;
    /// let ReadOutcome::Found(record) = store.read(&key, None).await? else {
    ///     return Err("the record is missing".into());
    /// };
    /// assert_eq!(record.data, data);
    /// # drop(store);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::builder(directory).open()
    }

    /// Returns a builder for a store in `directory` with the default options.
    pub fn builder(directory: impl AsRef<Path>) -> FileStoreBuilder {
        FileStoreBuilder {
            directory: directory.as_ref().to_path_buf(),
            options: Options::default(),
        }
    }
}

impl FileStoreBuilder {
    /// Sets when a write is acknowledged (default: [`Durability::Interval`] of 200 ms).
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// Sets the maximum length of a segment file in bytes: 16 KiB to 1 GiB (default 16 MiB).
    ///
    /// This also limits three other sizes: the disk space beyond twice the live data, the memory
    /// of a compaction while it runs, and the length of a record, which is at most half of it.
    ///
    /// Each segment file is open, so the store needs about one file descriptor for each `bytes` of its files. That
    /// is 64 for 1 GiB with the default, and 65,536 with 16 KiB. The limit of the process (`ulimit -n`) must
    /// allow it; otherwise no segment can be created. Compactions then fail
    /// ([`FileEvent::CompactionFailed`](super::FileEvent::CompactionFailed)). Writes continue as far as there is room in
    /// the limit on disk space, and until the last segment has four times its length (at most 1 GiB). Then they fail.
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.options.segment_bytes = bytes;
        self
    }

    /// Sets the lifetime of a destroyed session's tombstone (default 60 s). It must be longer than
    /// the longest request.
    pub const fn tombstone_ttl(mut self, time: Duration) -> Self {
        self.options.tombstone_ttl = time;
        self
    }

    /// Sets the speed of compaction in bytes of the log per second (default 64 MiB; at least 1).
    /// Compaction runs faster when the limit on disk space is near.
    pub const fn compaction_rate(mut self, bytes_per_second: u64) -> Self {
        self.options.compaction_rate = bytes_per_second;
        self
    }

    /// Sets the time source for expiry (default: the system's clock).
    pub fn clock(mut self, clock: Clock) -> Self {
        self.options.clock = clock;
        self
    }

    /// Sets the listener for the store's events (default: none).
    ///
    /// A store that a [`SessionConfig`](crate::SessionConfig) opens reports its problems to the listeners of
    /// its sessions.
    pub fn listener(mut self, listener: impl FileEventListener) -> Self {
        self.options.listener = Some(Arc::new(listener));
        self
    }

    /// Encrypts session data at rest with the first key of `ring` (default: no encryption).
    ///
    /// A stolen disk or backup then reveals store keys, sizes and times, but neither data nor tags.
    /// Records that were stored unencrypted, or with a previous key of the ring, are still read. The
    /// next write encrypts them with the first key, and so does a compaction if they were encrypted.
    /// Encryption can therefore be turned on, and keys can be rotated, while sessions are in use.
    /// [`FileStats::previous_key`](super::FileStats::previous_key) shows when the store needs no previous
    /// key any more, and [`FileEvent::ReencryptionFailed`](super::FileEvent::ReencryptionFailed) reports
    /// records that a compaction could not decrypt.
    ///
    /// Encryption costs a third more disk space, and less than a microsecond for a small record. Opening
    /// the store reads all encrypted records that have tags.
    ///
    /// A record that was encrypted with a key outside the ring cannot be read, and no tag lists it.
    pub fn encrypt_with(mut self, ring: &KeyRing) -> Self {
        self.options.cipher = Some(RecordCipher::new(ring));
        self
    }

    /// Sets whether unencrypted records are refused (default: no). Requires [`encrypt_with`](Self::encrypt_with).
    ///
    /// Without this setting, a process that can write the files, but has no key, can add unencrypted records under any
    /// key. With it, a read of such a record fails with [`FileError::Unencrypted`], no tag lists the record, and the
    /// visitor gets a new session. A store with files of format version 1, whose tags are not encrypted, does not open.
    ///
    /// This prevents forged contents only. Such a process can still put back an older encrypted record of the same
    /// session, change the expiry of a session, or end it.
    ///
    /// Turn it on when each session was written after encryption was turned on: a compaction encrypts no record that was
    /// stored unencrypted.
    pub const fn refuse_unencrypted(mut self, refuse: bool) -> Self {
        self.options.refuse_unencrypted = refuse;
        self
    }

    /// Sets the size of the cache of session data in bytes (default 16 MiB; 0 turns it off).
    ///
    /// The cache holds the data that was written or read last, unencrypted. A hit needs no system
    /// call.
    pub const fn cache_bytes(mut self, bytes: usize) -> Self {
        self.options.cache_bytes = bytes;
        self
    }

    /// Sets the memory limit for writes that wait for the disk with [`Durability::Always`], in bytes
    /// (default 64 MiB).
    ///
    /// Each write counts with its data and 512 bytes until it is on the disk. That includes writes
    /// whose futures were dropped, since they are executed all the same. A write above the limit
    /// fails with [`FileError::Backlog`]. If no write is waiting, a single write of any length is
    /// accepted. A write that waits for a compaction to make room does not count. It ends with its future, or after
    /// 10 seconds.
    pub const fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.options.max_pending_bytes = bytes;
        self
    }

    /// Sets the reaction to damage in a part of the log that was durable (default:
    /// [`OnDamage::Refuse`]).
    ///
    /// The opening records how it handled the damage, so that the next one succeeds with every setting.
    #[doc(alias = "allow_data_loss")]
    pub const fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.options.on_damage = on_damage;
        self
    }

    /// Sets whether the opening reads all segments, and compares the hint files with them (default: no).
    ///
    /// Otherwise the opening trusts the hint files, which have checksums of their own. Damage in a
    /// segment with a hint is then found only when the record is read.
    pub const fn verify_on_open(mut self, verify: bool) -> Self {
        self.options.verify_on_open = verify;
        self
    }

    /// Opens the store. Creates the directory if it does not exist.
    ///
    /// Reads the hint files, and all segments without one. It blocks meanwhile, for about 0.3 seconds with
    /// a million small sessions, and longer if they have tags or are not in hint files.
    ///
    /// # Errors
    /// If an option is out of its range, the directory is in use or unusable, or durable data in it is
    /// damaged or missing. See [`FileError`].
    pub fn open(self) -> Result<FileStore, FileError> {
        self.options.check()?;
        FileStore::open_with(&self.directory, self.options)
    }
}

impl fmt::Debug for FileStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStoreBuilder")
            .field("directory", &self.directory)
            .field("durability", &self.options.durability)
            .field("segment_bytes", &self.options.segment_bytes)
            .finish_non_exhaustive()
    }
}
