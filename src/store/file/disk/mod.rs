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

/// The identity of a file or directory, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A directory or file that the store has open and that is no longer under its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathChange {
    pub(crate) path: PathBuf,
    /// What happened to it, as the predicate of a sentence.
    pub(crate) change: &'static str,
}

impl PathChange {
    /// Fails if `path` does not lead to `expected`. An error that leaves this open is no failure.
    pub(crate) fn check(
        path: impl FnOnce() -> PathBuf,
        found: io::Result<Option<FileId>>,
        expected: FileId,
    ) -> Result<(), Self> {
        let change = match found {
            Ok(None) => "was moved or deleted",
            Ok(Some(found)) if found != expected => "was replaced",
            Ok(Some(_)) | Err(_) => return Ok(()),
        };
        let path = path();
        Err(Self { path, change })
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

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Removes a file from the directory.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created and removed files durable.
    fn sync_entries(&self) -> io::Result<()>;

    /// Returns the identity of the file with this name, or `None` if there is none.
    fn file_id(&self, name: &str) -> io::Result<Option<FileId>>;

    /// Fails if the directory or its lock file was moved, deleted or replaced.
    fn check(&self) -> Result<(), PathChange>;

    /// Fails if `file`, opened by this name, or the directory was moved, deleted or replaced. Without a lock
    /// on the directory, the same holds for the lock file.
    fn check_file(&self, name: &str, file: &dyn DiskFile) -> Result<(), PathChange>;

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
