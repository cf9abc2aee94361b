//! Errors of a file store.

use std::{fmt, io, path::PathBuf, process, sync::Arc};

use super::{finding::Finding, format::segment_head::FORMAT_VERSION};
use crate::{
    error_chain::ErrorChain,
    seal::{OpenError, OpenReason, SealError},
};

/// An error of a file store.
///
/// It is the [`source`](std::error::Error::source) of the
/// [`StoreError`](crate::store::StoreError) that an operation returns. `Debug` prints the message
/// and the messages of all sources, so that `main` may return this error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Another process, or another store in this process, has the directory open.
    #[error(
        "session directory {}: in use by {}; stop the process that uses it or choose another directory",
        path.display(), describe_process(*pid)
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that opened the store last, unless that store was closed. It is the one that uses the
        /// directory, except after it was killed, or while another process is opening the store.
        pid: Option<u32>,
    },
    /// The directory is not writable.
    #[error(
        "session directory {}: not writable; let this process write to it or choose another \
         directory", path.display()
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file of the store is not a regular file. Nothing was changed.
    #[error("{}: {kind} in place of a file; move it out of the session directory", path.display())]
    NotRegularFile {
        /// The file.
        path: PathBuf,
        /// The kind of the file, such as "a named pipe".
        kind: &'static str,
    },
    /// Another version of this crate wrote a file.
    #[error(
        "{}: written by {} version of hyper-session, format version is {found}, this version reads up \
         to {supported}; use the version of hyper-session that wrote it or start with an empty directory",
        path.display(), if found > supported { "a newer" } else { "an older" }
    )]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The file's format version.
        found: u32,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// Durable data is damaged or missing. Nothing was changed.
    #[error(
        "log segment {}: {finding}; restore the directory from a backup, or run `session-file repair \
         {}` to drop the sessions that may have an older state",
        finding.path.display(), finding.directory().display()
    )]
    Damaged {
        /// The first damage.
        finding: Box<Finding>,
    },
    /// The disk or the quota is full. Nothing was changed, and reads continue.
    #[error(
        "{}: the disk is full, nothing was written; free some space, then writes succeed again",
        path.display()
    )]
    Full {
        /// The directory or file.
        path: PathBuf,
    },
    /// The files have reached their limit, and compaction has failed or has freed no space in time.
    /// Nothing was changed, and reads continue.
    #[error(
        "session directory {}: the files take {bytes} bytes, the limit is {limit} bytes, compaction has \
         not freed space in time, nothing was written; check the disk and the event \
         `CompactionFailed`", path.display()
    )]
    DiskLimit {
        /// The directory.
        path: PathBuf,
        /// Length of all files in bytes.
        bytes: u64,
        /// The limit in bytes: twice the live data and one segment. A part of it is reserved for the
        /// compaction.
        limit: u64,
    },
    /// An append exceeded the limit on disk space, which the store reserves space for. Its accounting is
    /// wrong, so it accepts no more writes until it is opened again. Reads continue.
    #[error(
        "session directory {}: the files take {bytes} bytes, the limit is {limit} bytes, the accounting \
         of the space is wrong, no more writes are accepted; report this defect and open the store again",
        path.display()
    )]
    LimitExceeded {
        /// The directory.
        path: PathBuf,
        /// Length of all files in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// With [`Durability::Always`](super::Durability::Always): too many writes wait for the disk, which
    /// hangs or is too slow. Nothing was changed.
    #[error(
        "session directory {}: {pending} bytes of writes wait for the disk, the limit is {max} bytes, \
         nothing was written; check the disk or raise `max_pending_bytes`", path.display()
    )]
    Backlog {
        /// The directory.
        path: PathBuf,
        /// Memory of the waiting writes in bytes.
        pending: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The operating system reported an error.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Data could not be written to the disk, so the content of the disk is not known. Or the files could not be
    /// looked up after a sync. The store accepts no more writes until it is opened again.
    #[error(
        "session directory {}: a write to the disk failed ({reason}), no more writes are accepted; \
         check the disk and open the store again", path.display()
    )]
    Poisoned {
        /// The directory.
        path: PathBuf,
        /// The error of the failed write.
        reason: Arc<str>,
    },
    /// A thread of the store panicked. The store accepts no more writes until it is opened again. Reads continue, and
    /// what was acknowledged before is synced. If that fails or panics as well, reads of what is not synced fail with
    /// [`Durability::Always`](super::Durability::Always).
    ///
    /// [`flush`](super::FileStore::flush) and [`close`](super::FileStore::close) sync after the panic, too.
    #[error(
        "session directory {}: a thread of the store panicked, no more writes are accepted; report this \
         defect with the message of the panic and open the store again", path.display()
    )]
    Panicked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory or one of its files was moved, deleted, replaced, truncated or made inaccessible while the
    /// store was open. What the store wrote could not be found there again, so every call fails until it is
    /// opened again.
    #[error(
        "{}: {change} while the store was open, the store has stopped; put it back as it was and \
         open the store again", path.display()
    )]
    PathChanged {
        /// The path of the directory or file, without symbolic links.
        path: PathBuf,
        /// The change, such as "was replaced".
        change: &'static str,
    },
    /// The data and the tags are longer than a record may be.
    #[error(
        "session data with tags is {len} bytes, the file store's limit is {max} bytes; store less data or raise \
         `segment_bytes`"
    )]
    TooLong {
        /// Length of the data and the tags in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A record could not be encrypted.
    #[error("session data could not be encrypted")]
    Seal(#[from] SealError),
    /// A record could not be decrypted. Its key is not in the key ring, a newer release encrypted it,
    /// or the data was changed.
    #[error("session data could not be decrypted: {}", open_problem(*.0))]
    Open(#[from] OpenError),
    /// A record was encrypted for another session key.
    #[error(
        "session data was encrypted for another session; the files may have been \
         tampered with, restore them from a backup"
    )]
    WrongKey,
    /// A record is encrypted, and the store was opened without a key ring.
    #[error("session data is encrypted, and no key ring is set; call `encrypt_with`")]
    NoKeys,
    /// Data is not encrypted, and the store was opened with
    /// [`refuse_unencrypted`](super::FileStoreBuilder::refuse_unencrypted).
    #[error(
        "session data is not encrypted, and unencrypted data is refused; destroy the session or open \
         the store without `refuse_unencrypted`"
    )]
    Unencrypted,
    /// An option is out of its range.
    #[error("file store option `{option}` is {found}; allowed is {allowed}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The option's value.
        found: u64,
        /// The allowed values.
        allowed: &'static str,
    },
    /// The store was closed.
    #[error("file store is closed; open it again")]
    Closed,
}

impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ErrorChain(self))
    }
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        let special = source.get_ref().and_then(|error| error.downcast_ref());
        if let Some(SpecialFile(kind)) = special {
            return Self::NotRegularFile { path, kind };
        }
        Self::Io {
            action,
            path,
            source,
        }
    }

    /// Returns `true` if the data under the key was changed, so no key can decrypt it, or if it is refused.
    pub(crate) const fn is_unreadable(&self) -> bool {
        match self {
            Self::WrongKey | Self::Unencrypted => true,
            Self::Open(error) => !matches!(
                error.reason(),
                OpenReason::UnknownKey | OpenReason::UnknownVersion
            ),
            _ => false,
        }
    }

    pub(crate) const fn unsupported_format(path: PathBuf, found: u32) -> Self {
        let supported = FORMAT_VERSION;
        Self::UnsupportedFormat {
            path,
            found,
            supported,
        }
    }

    /// Returns `true` if the disk or the quota is full.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

fn open_problem(error: OpenError) -> &'static str {
    match error.reason() {
        OpenReason::UnknownKey => "its key is not in the key ring; add the key to the key ring",
        OpenReason::UnknownVersion => "a newer release encrypted it; upgrade hyper-session",
        _ => "it is damaged; destroy the session",
    }
}

fn describe_process(pid: Option<u32>) -> String {
    match pid {
        None => "another process".to_owned(),
        // Processes of different containers may have the same id.
        Some(pid) if pid == process::id() => {
            format!("this process, or by process {pid} of another container")
        }
        Some(pid) => format!("another process, last opened by process {pid}"),
    }
}

/// A file that is not regular, such as a named pipe: its kind, as the subject of a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0} in place of a file")]
pub(crate) struct SpecialFile(pub(crate) &'static str);

/// Returns `true` if `error` reports a full disk or quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
