//! The lock on a store's directory: one process at a time. The system releases it when the process
//! ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::store::file::{error::FileError, format::file_names::LOCK_FILE};

/// The lock on a directory, released on drop.
pub(crate) struct DirectoryLock(File);

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file is not enough. A child process that another thread is starting holds a
        // copy of the descriptor for a moment, and with it the lock.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl DirectoryLock {
    /// Locks `directory`. Fails with [`FileError::InUse`] if it is locked already.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, FileError> {
        let path = directory.join(LOCK_FILE);
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let path = directory.to_path_buf();
                FileError::NotWritable { path, source }
            }
            _ => FileError::io("lock", path.clone(), source),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let (path, pid) = (directory.to_path_buf(), read_pid(&mut file));
                return Err(FileError::InUse { path, pid });
            }
            Err(error) => return Err(fail(error.into())),
        }
        // The id is only for messages, so a full disk is not an error.
        let _ = write_pid(&mut file);
        Ok(Self(file))
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
