//! What can go wrong with the files.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    seal::{OpenError, SealError},
    store::MAX_TAGS,
};

/// Why the file store could not open or could not do something.
///
/// Inside a [`StoreError`](crate::store::StoreError) it is the
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Another process, or another store in this one, has the directory open.
    #[error(
        "the session directory {} is in use by {}: one process at a time can open it; stop the \
         other one or choose another directory", path.display(), holder(*pid)
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it, where it could be read.
        pid: Option<u32>,
    },
    /// Nothing can be written in the directory.
    #[error(
        "the session directory {} cannot be written to: {source}; let this process write there or \
         choose another directory", path.display()
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file was written by a newer version of this crate.
    #[error(
        "{} has format version {found}, and this version of hyper-session reads up to {known}: \
         upgrade hyper-session, or start with an empty directory", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// A segment of the log is not there, so what it held is lost.
    #[error(
        "the log segment {} is missing: put it back, or open the store with allow_data_loss(true) to \
         go on without what it held", path.display()
    )]
    MissingSegment {
        /// Where it should stand.
        path: PathBuf,
    },
    /// The head of a segment cannot be read, so nothing in it can be.
    #[error(
        "the head of the log segment {} is damaged: restore the file, or open the store with \
         allow_data_loss(true) to go on without what it held", path.display()
    )]
    DamagedSegment {
        /// The segment's file.
        path: PathBuf,
    },
    /// The disk is full. Nothing was changed; reading goes on.
    #[error(
        "the disk that holds {} is full: nothing was written; free some space, the store goes on \
         by itself", path.display()
    )]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// With [`Durability::Always`](super::Durability::Always): as many writes wait for the disk as
    /// may, since it hangs, or is slower than sessions are written. Nothing was changed.
    #[error(
        "writes of {waiting} bytes wait for the disk that holds {}, and {max} may: nothing was \
         written; the store goes on by itself when the disk does, and max_pending_bytes sets the limit",
        path.display()
    )]
    Backlog {
        /// The directory.
        path: PathBuf,
        /// What waits, in bytes of memory.
        waiting: usize,
        /// What may, in bytes.
        max: usize,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Data could not be brought to the disk, so what the disk holds is not known any more. The
    /// store takes no more writes until it is opened again.
    #[error(
        "the store in {} takes no more writes until it is opened again, because bringing data to \
         the disk failed: {reason}", path.display()
    )]
    Poisoned {
        /// The directory.
        path: PathBuf,
        /// The failure that stopped it.
        reason: Arc<str>,
    },
    /// The data is longer than a record may be.
    #[error("session data of {len} bytes is too long for the file store, which takes {max}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest that fits, in bytes.
        max: usize,
    },
    /// A record could not be sealed.
    #[error("session data cannot be sealed: {0}")]
    Seal(#[from] SealError),
    /// A sealed record cannot be opened: the key that sealed it is not among those given, or
    /// somebody changed it.
    #[error(
        "a sealed session cannot be opened: {0}; the key ring must have the key that sealed it"
    )]
    Open(#[from] OpenError),
    /// A sealed record stands under another key than the one it was sealed for.
    #[error("a sealed session was put in the place of another")]
    Misplaced,
    /// A record is sealed, and the store was opened without a key ring.
    #[error("a session is sealed, and the file store was opened without a key ring")]
    NoKeys,
    /// The session has as many tags as it may have.
    #[error("a session carries at most {MAX_TAGS} tags")]
    TooManyTags,
    /// The options contradict themselves.
    #[error("file store option {option} is {found}, it must be {allowed}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        found: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// The store was closed.
    #[error("the file store was closed")]
    Closed,
}

impl FileError {
    pub(super) fn io(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self::Io {
            action,
            path,
            source,
        }
    }

    /// Whether a full disk, or a full quota, is the reason.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// Whether the error says that there is no room left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
