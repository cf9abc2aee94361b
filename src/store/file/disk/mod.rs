//! The file system as the store uses it: one directory of files.
//!
//! All disk access goes through these two traits. Crash tests replace them with a simulated disk that
//! fails at every single operation.

pub(crate) mod dir_lock;
#[cfg(target_os = "linux")]
#[path = "file_id_linux.rs"]
mod file_id;
#[cfg(not(target_os = "linux"))]
#[path = "file_id_fallback.rs"]
mod file_id;
#[cfg(target_os = "linux")]
#[path = "nowait_linux.rs"]
mod nowait;
#[cfg(not(target_os = "linux"))]
#[path = "nowait_fallback.rs"]
mod nowait;
pub(crate) mod os;

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

/// The identity of a file or directory, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The time at which a directory last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryStamp {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

/// A directory or file that the store has open and that is no longer under its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathChange {
    pub(crate) path: PathBuf,
    /// The change, as the predicate of a sentence.
    pub(crate) change: &'static str,
}

/// The result of a look-up that found no change.
#[must_use]
pub(crate) enum PathLookup {
    /// The path leads to the file.
    Found,
    /// A transient error prevented the look-up.
    Failed(io::Error),
}

impl PathLookup {
    /// Returns the first failure of both.
    pub(crate) fn and(self, other: Self) -> Self {
        match self {
            Self::Found => other,
            Self::Failed(_) => self,
        }
    }
}

impl PathChange {
    /// Checks that `path` leads to `expected`. Fails if it does not lead there, or if that cannot be looked up.
    pub(crate) fn check(
        path: impl FnOnce() -> PathBuf,
        found: io::Result<Option<FileId>>,
        expected: FileId,
    ) -> Result<PathLookup, Self> {
        let change = match found {
            Ok(Some(found)) if found == expected => return Ok(PathLookup::Found),
            Ok(Some(_)) => "was replaced",
            Ok(None) => "was moved or deleted",
            Err(error) => match lookup_failure(&error) {
                None => return Ok(PathLookup::Failed(error)),
                Some(change) => change,
            },
        };
        let path = path();
        Err(Self { path, change })
    }
}

/// Returns what a failed look-up of a path says about the file, or `None` for a transient error.
fn lookup_failure(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error) {
        Some(Errno::INTR | Errno::AGAIN | Errno::NOMEM | Errno::TIMEDOUT) => None,
        Some(Errno::STALE) => Some("was moved or deleted"),
        // The path had no symbolic links.
        Some(Errno::LOOP) => Some("was replaced"),
        Some(Errno::ACCESS | Errno::PERM) => Some("became inaccessible by its permissions"),
        _ => Some("became inaccessible"),
    }
}

/// One directory. It is opened once, so all names are those of the same directory for as long as the
/// store is open.
///
/// Changes are durable only after a sync: file contents after [`DiskFile::sync`], created and removed
/// files after [`sync_entries`](Self::sync_entries).
pub(crate) trait Disk: Send + Sync + 'static {
    /// Returns the directory's path, for messages.
    fn path(&self) -> &Path;

    /// Returns the names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file. Fails if it exists.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing. Fails with
    /// [`SpecialFile`](crate::store::file::error::SpecialFile) if it is not regular.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Removes a file from the directory.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created and removed files durable.
    fn sync_entries(&self) -> io::Result<()>;

    /// Returns the identity of the file with this name, or `None` if there is none.
    fn file_id(&self, name: &str) -> io::Result<Option<FileId>>;

    /// Returns a value that changes when a file of the directory is created, removed or renamed, or when the
    /// directory itself is moved or deleted. It is read without a look-up of the path. Fails if the file system
    /// may not report changes at once.
    fn entry_stamp(&self) -> io::Result<EntryStamp>;

    /// Fails if the directory or its lock file was moved, deleted or replaced.
    fn check(&self) -> Result<PathLookup, PathChange>;

    /// Fails if `file`, opened by this name, was moved, deleted or replaced within the directory.
    fn check_entry(&self, name: &str, file: &dyn DiskFile) -> Result<PathLookup, PathChange>;

    /// Returns the path of a file, for messages.
    fn locate(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// One open file.
pub(crate) trait DiskFile: Send + Sync {
    /// Fills `into` from `offset` on. Returns the number of bytes read, which is smaller than the
    /// buffer only at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `head` from `offset` on, then `body`, without waiting for the device. Returns `false` if
    /// that is not possible, or if the file ends before.
    fn read_nowait(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Truncates the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the file's contents durable.
    fn sync(&self) -> io::Result<()>;

    /// Returns the file's length.
    fn len(&self) -> io::Result<u64>;

    /// Returns the file's identity, without a system call.
    fn id(&self) -> FileId;
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
