//! What the store tells about itself.

use std::{path::Path, time::Duration};

use super::FileError;

/// Listens to a file store. Called on the thread where the thing happened, often the store's own
/// background thread: it must be quick, and must not call the store.
pub trait FileEventListener: Send + Sync + 'static {
    /// Something happened.
    fn on(&self, event: &FileEvent<'_>);
}

impl<F: Fn(&FileEvent<'_>) + Send + Sync + 'static> FileEventListener for F {
    fn on(&self, event: &FileEvent<'_>) {
        self(event);
    }
}

/// Something that happened in a file store.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileEvent<'a> {
    /// At opening, the unfinished end of a segment was cut off: what a crash leaves of appends
    /// that were never acknowledged as durable.
    TornTail {
        /// The segment.
        path: &'a Path,
        /// How much was cut off, in bytes.
        bytes: u64,
    },
    /// Bytes in the middle of a segment are damaged. What they held is skipped and never served.
    Damaged {
        /// The segment.
        path: &'a Path,
        /// Where the damage begins.
        offset: u64,
        /// How far it reaches, in bytes.
        bytes: u64,
    },
    /// A hint file could not be used; its segment is read instead.
    HintIgnored {
        /// The hint file.
        path: &'a Path,
    },
    /// A segment that is missing or unreadable was passed over, since the store was opened with
    /// [`allow_data_loss`](super::FileStoreBuilder::allow_data_loss).
    LossAccepted {
        /// The segment.
        path: &'a Path,
    },
    /// Reading the log at opening has come this far.
    Opening {
        /// Bytes read.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// A segment was cleaned and deleted.
    Cleaned {
        /// The segment.
        path: &'a Path,
        /// Bytes that were copied out of it, since they are live.
        kept: u64,
        /// Bytes that it took.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// Cleaning failed; it is tried again.
    CleaningFailed {
        /// Why.
        error: &'a FileError,
    },
    /// A record was read and could not be touched, since the disk is full or the store takes no
    /// writes: it expires when it would have.
    TouchFailed {
        /// Why.
        error: &'a FileError,
    },
    /// Expired records and tombstones were taken out of the index.
    Expired {
        /// How many.
        entries: u64,
    },
    /// Bringing data to the disk failed: the store takes no more writes until it is opened again.
    Poisoned {
        /// Why.
        error: &'a FileError,
    },
}
