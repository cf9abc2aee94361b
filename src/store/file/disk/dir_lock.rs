//! One process at a time: a lock on a file in the directory, which ends with the process.

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

use super::{FileError, names};

/// The lock, held for as long as this lives.
pub(super) struct DirectoryLock(File);

impl Drop for DirectoryLock {
    /// Closing the file is not enough: a child process that another thread is just starting has a
    /// copy of it for a moment, and the lock would stand as long.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl DirectoryLock {
    pub(super) fn take(directory: &Path) -> Result<Self, FileError> {
        let path = directory.join(names::LOCK);
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
        // Who holds it is only told to people; on a full disk they do without.
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
