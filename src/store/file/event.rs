//! Events of a file store.

use std::{fmt, io, path::Path, time::Duration};

use super::error::FileError;
use crate::{clock::Timestamp, error_chain::ErrorChain};

/// A listener for the events of a file store.
///
/// The store calls it on the thread where the event arose, often a background thread of the store.
/// It must be quick and must not call the store. The store catches and ignores its panics. It must not drop the
/// last handle of the store either, since that closes the store: some events are emitted while the store holds a lock.
pub trait FileEventListener: Send + Sync + 'static {
    /// Handles one event.
    fn on_event(&self, event: &FileEvent<'_>);
}

impl<F: Fn(&FileEvent<'_>) + Send + Sync + 'static> FileEventListener for F {
    fn on_event(&self, event: &FileEvent<'_>) {
        self(event);
    }
}

/// An event of a file store.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileEvent<'a> {
    /// The opening cut off the incomplete end of a segment. It belongs to appends that a crash
    /// interrupted and that were never acknowledged as durable.
    TornTail {
        /// The segment.
        path: &'a Path,
        /// The number of bytes that were cut off.
        bytes: u64,
    },
    /// Bytes in the middle of a segment are damaged, or its end is missing. The data in them is skipped
    /// and never served.
    Damaged {
        /// The segment.
        path: &'a Path,
        /// The offset of the damage.
        offset: u64,
        /// The length of the damage in bytes.
        bytes: u64,
    },
    /// A hint file is damaged or out of date. Its segment is read instead.
    HintIgnored {
        /// The hint file.
        path: &'a Path,
    },
    /// A segment is missing or unreadable, and the store was opened without it because of
    /// [`on_damage`](super::FileStoreBuilder::on_damage).
    SegmentSkipped {
        /// The segment.
        path: &'a Path,
    },
    /// The progress of reading the log at opening. It may start again from 0, if a second reading is needed
    /// because of damage that an earlier opening handled.
    Opening {
        /// Bytes that were read.
        done: u64,
        /// Bytes in all files.
        total: u64,
    },
    /// A segment was compacted. Its live records were copied and the file was deleted.
    Compacted {
        /// The segment.
        path: &'a Path,
        /// Bytes that were copied because they are live.
        kept: u64,
        /// Length of the segment in bytes.
        bytes: u64,
        /// Duration of the compaction.
        took: Duration,
    },
    /// A compaction, or the creation of the next segment, failed. The store tries again.
    CompactionFailed {
        /// The cause.
        error: &'a FileError,
    },
    /// A compaction could not encrypt records of a segment with the first key of the ring, since it could
    /// not decrypt them. The records stay as they are, and
    /// [`FileStats::previous_key`](super::FileStats::previous_key) counts them.
    ReencryptionFailed {
        /// The segment that was compacted.
        path: &'a Path,
        /// The number of records.
        records: u64,
        /// The cause for the first of them.
        error: &'a FileError,
    },
    /// A record was read but its expiry could not be extended, because the disk is full or reported an error,
    /// or the store accepts no writes. The record keeps its previous expiry.
    TouchFailed {
        /// The cause.
        error: &'a FileError,
    },
    /// Expired records and tombstones were removed from the index.
    Expired {
        /// The number of records and tombstones.
        entries: u64,
    },
    /// The file system refuses to lock the directory itself, as NFS does. The lock file in it is
    /// locked. Without that file, a second process could open the store.
    DirectoryNotLocked {
        /// The directory.
        path: &'a Path,
        /// The error of the file system.
        error: &'a io::Error,
    },
    /// At the opening, the clock was more than a minute behind the newest time in the log. Either the clock
    /// was set back, or an earlier process ran with a clock that was ahead.
    ///
    /// The store's time continues from the newest time in the log. Sessions still expire after their
    /// lifetime, but the time while the store is closed does not count.
    ClockBehind {
        /// The newest time in the log.
        newest: Timestamp,
        /// The time of the clock.
        clock: Timestamp,
    },
    /// Data could not be written to the disk, the directory or one of its files was moved, deleted,
    /// replaced or made inaccessible, the files exceed the limit on disk space, or a thread of the store panicked.
    /// The store accepts no more writes until it is opened again.
    Poisoned {
        /// The cause.
        error: &'a FileError,
    },
}

impl FileEvent<'_> {
    /// Returns the event's name in logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TornTail { .. } => "torn_tail",
            Self::Damaged { .. } => "damaged",
            Self::HintIgnored { .. } => "hint_ignored",
            Self::SegmentSkipped { .. } => "segment_skipped",
            Self::Opening { .. } => "opening",
            Self::Compacted { .. } => "compacted",
            Self::CompactionFailed { .. } => "compaction_failed",
            Self::ReencryptionFailed { .. } => "reencryption_failed",
            Self::TouchFailed { .. } => "touch_failed",
            Self::Expired { .. } => "expired",
            Self::DirectoryNotLocked { .. } => "directory_not_locked",
            Self::ClockBehind { .. } => "clock_behind",
            Self::Poisoned { .. } => "poisoned",
        }
    }
}

impl FileEvent<'_> {
    /// Returns the file or directory that the event concerns.
    const fn path(&self) -> Option<&Path> {
        match self {
            Self::TornTail { path, .. }
            | Self::Damaged { path, .. }
            | Self::HintIgnored { path }
            | Self::SegmentSkipped { path }
            | Self::Compacted { path, .. }
            | Self::ReencryptionFailed { path, .. }
            | Self::DirectoryNotLocked { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for FileEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.path() {
            write!(f, "{}: ", path.display())?;
        }
        match self {
            Self::TornTail { bytes, .. } => {
                write!(f, "{bytes} bytes of an incomplete append were cut off")
            }
            Self::Damaged { offset, bytes, .. } => write!(
                f,
                "{bytes} bytes are damaged at offset {offset}; check the disk and run \
                 `session-file verify`"
            ),
            Self::HintIgnored { .. } => {
                f.write_str("damaged or out of date, its segment was read instead")
            }
            Self::SegmentSkipped { .. } => f.write_str(
                "missing or unreadable, the store was opened without it; check the disk",
            ),
            Self::Opening { done, total } => write!(f, "{done} of {total} bytes were read"),
            Self::Compacted { kept, bytes, .. } => write!(f, "{kept} of {bytes} bytes were kept"),
            Self::CompactionFailed { error } => {
                write!(f, "compaction failed: {}", ErrorChain(*error))
            }
            Self::ReencryptionFailed { records, error, .. } => {
                let error = ErrorChain(*error);
                write!(f, "{records} records keep their previous key: {error}")
            }
            Self::TouchFailed { error } => {
                write!(f, "expiry was not extended: {}", ErrorChain(*error))
            }
            Self::Expired { entries } => write!(f, "{entries} expired entries were removed"),
            Self::DirectoryNotLocked { error, .. } => write!(
                f,
                "the file system refuses to lock this directory ({error}), so only the lock file in it is \
                 locked; do not delete that file"
            ),
            Self::ClockBehind { newest, clock } => write!(
                f,
                "clock: {} ms since 1970, the newest time in the log is {} ms, so time continues from \
                 there; set the clock",
                clock.as_millis(),
                newest.as_millis()
            ),
            Self::Poisoned { error } => write!(f, "{}", ErrorChain(*error)),
        }
    }
}
