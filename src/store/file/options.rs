//! What a user may choose.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use super::{FileError, FileEventListener, FileStore, vault::Vault};
use crate::{
    clock::Clock,
    duration::{self, ParseDurationError},
    seal::KeyRing,
};

/// When a write is acknowledged, and what a crash can take.
///
/// Whatever is chosen, an acknowledged write survives the end of the process, `kill -9` included:
/// it has been handed to the operating system. The choice is about the machine: a power failure or
/// a crash of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A write is acknowledged once the disk has it. Nothing acknowledged is ever lost, and nothing
    /// that could still be lost is shown to readers. Writers that wait at the same time share one
    /// sync, so throughput grows with concurrency.
    Always,
    /// A write is acknowledged at once, and the disk has it within this time (plus the time that
    /// one sync takes): a power failure loses at most that much.
    Interval(Duration),
    /// A write is acknowledged at once and the operating system decides when the disk gets it,
    /// usually within 30 s.
    Os,
}

impl FromStr for Durability {
    type Err = ParseDurationError;

    /// `always`, `os`, or the time of an interval, such as `200ms`.
    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        match text.trim() {
            "always" => Ok(Self::Always),
            "os" => Ok(Self::Os),
            time => duration::parse(time).map(Self::Interval),
        }
    }
}

impl Default for Durability {
    /// Every 200 ms.
    fn default() -> Self {
        Self::Interval(Duration::from_millis(200))
    }
}

/// The options of a [`FileStore`]; made by [`FileStore::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until open() is called"]
pub struct FileStoreBuilder {
    pub(super) directory: PathBuf,
    pub(super) durability: Durability,
    pub(super) segment_bytes: u64,
    pub(super) tombstone: Duration,
    pub(super) compaction_rate: u64,
    pub(super) clock: Clock,
    pub(super) events: Option<Arc<dyn FileEventListener>>,
    pub(super) allow_data_loss: bool,
    pub(super) vault: Option<Vault>,
    pub(super) cache_bytes: usize,
    pub(super) max_pending_bytes: usize,
}

impl FileStoreBuilder {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            durability: Durability::default(),
            segment_bytes: 16 << 20,
            tombstone: Duration::from_secs(60),
            compaction_rate: 64 << 20,
            clock: Clock::system(),
            events: None,
            allow_data_loss: false,
            vault: None,
            cache_bytes: 16 << 20,
            max_pending_bytes: 64 << 20,
        }
    }

    /// When a write is acknowledged (default: [`Durability::Interval`] of 200 ms).
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The longest a segment file grows, in bytes: 16 KiB to 1 GiB (default 16 MiB). It is also the
    /// disk space that the store may take beyond twice its live data, the memory that cleaning
    /// takes while it runs, and, less 160 bytes, the longest record.
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// How long a destroyed session's tombstone stands (default 60 s): longer than the longest
    /// request.
    pub const fn tombstone_ttl(mut self, time: Duration) -> Self {
        self.tombstone = time;
        self
    }

    /// How many bytes of the log the cleaner passes over in a second while it is in no hurry
    /// (default 64 MiB; at least 1). Where the bound on disk space comes near, it goes faster.
    pub const fn compaction_rate(mut self, bytes_per_second: u64) -> Self {
        self.compaction_rate = bytes_per_second;
        self
    }

    /// The source of time for expiry (default: the system's clock).
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Who is told what happens inside the store (default: nobody).
    pub fn listener(mut self, events: impl FileEventListener) -> Self {
        self.events = Some(Arc::new(events));
        self
    }

    /// Seals session data before it is written, with the first key of `ring` (default: no).
    ///
    /// A stolen disk or backup then tells keys, sizes, times and tags, and no data. Records that
    /// were written without, or sealed with an older key of the ring, stay as they are until the
    /// next write, so sealing can be turned on and keys can be changed while sessions live. It
    /// costs a third more disk and somewhat less than a microsecond for a small record.
    pub fn encrypt_with(mut self, ring: &KeyRing) -> Self {
        self.vault = Some(Vault::new(ring));
        self
    }

    /// How much memory is used to keep session data that was written or read last, in bytes
    /// (default 16 MiB; 0 for none). Data that is there is read without asking the operating
    /// system; it is in memory unsealed.
    pub const fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// With [`Durability::Always`], how much memory the writes may take that wait for the disk, in
    /// bytes (default 64 MiB): each its data and 512 bytes, until the disk has it. That includes
    /// writes whose futures were dropped, which are done all the same. What comes beyond is refused
    /// with [`FileError::Backlog`]; where nothing waits, one write of any length is taken.
    pub const fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_pending_bytes = bytes;
        self
    }

    /// Whether to open a directory from which segments are missing or unreadable, without what
    /// they held (default: no, that is an error). Sessions that were destroyed in a lost segment
    /// may come back.
    pub const fn allow_data_loss(mut self, accept: bool) -> Self {
        self.allow_data_loss = accept;
        self
    }

    /// Opens the store, making the directory where it is missing. Reads the hint files, and those
    /// segments that have none: about a second for a million sessions. It blocks for that long.
    ///
    /// # Errors
    /// When an option is out of its range, the directory is in use or cannot be used, or its files
    /// cannot be trusted; see [`FileError`].
    pub fn open(self) -> Result<FileStore, FileError> {
        self.check()?;
        FileStore::open_with(self)
    }

    fn check(&self) -> Result<(), FileError> {
        let wrong = |option, found, allowed| {
            Err(FileError::Option {
                option,
                found,
                allowed,
            })
        };
        match (self.segment_bytes, self.compaction_rate, self.durability) {
            (found, ..) if !(16 << 10..=1 << 30).contains(&found) => {
                wrong("segment_bytes", found, "16 KiB to 1 GiB")
            }
            (_, 0, _) => wrong("compaction_rate", 0, "at least 1"),
            (.., Durability::Interval(Duration::ZERO)) => wrong(
                "durability",
                0,
                "an interval longer than nothing, or Always",
            ),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for FileStoreBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStoreBuilder")
            .field("directory", &self.directory)
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}
