//! The lock on a store's directory: one process at a time. The system releases it when the process
//! ends.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use super::{Disk, os::OsDisk};
use crate::store::file::{error::FileError, format::file_names::LOCK_FILE};

/// The lock on a directory, released on drop.
///
/// Both the directory and the lock file in it are locked. The lock on the directory cannot be deleted.
/// The lock file is for file systems that cannot lock a directory, such as NFS.
pub(crate) struct DirectoryLock {
    /// `None` if the file system refuses to lock a directory.
    directory: Option<File>,
    /// `None` if the lock is only for reading, and there is no lock file that can be read.
    file: Option<File>,
    /// The lock is that of a store, whose process id is in the lock file.
    is_exclusive: bool,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Another program that locks the directory later is not this process.
        if let Some(file) = self.file.as_ref().filter(|_| self.is_exclusive) {
            let _ = file.set_len(0);
        }
        // Closing the files is not enough. A child process that another thread is starting holds
        // copies of the descriptors for a moment, and with them the locks.
        for file in [&self.file, &self.directory].into_iter().flatten() {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

impl DirectoryLock {
    /// Locks the directory of `disk`. Also returns the error with which the file system refused to lock
    /// the directory itself, if it did.
    ///
    /// Fails with [`FileError::InUse`] if the directory is locked already.
    pub(crate) fn acquire(disk: &mut OsDisk) -> Result<(Self, Option<io::Error>), FileError> {
        let directory = || disk.path().to_path_buf();
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let path = directory();
                FileError::NotWritable { path, source }
            }
            _ => FileError::io("lock", disk.locate(LOCK_FILE), source),
        };
        let operation = FlockOperation::NonBlockingLockExclusive;
        let (handle, refusal) = lock_handle(disk, operation)?;
        let file = disk.open_file(LOCK_FILE, OFlags::RDWR | OFlags::CREATE);
        let mut file = file.map_err(fail)?;
        match flock(&file, operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(disk)),
            Err(error) => return Err(fail(error.into())),
        }
        // The id is only for messages, so a full disk is not an error.
        let _ = write_pid(&mut file);
        let expected = disk.expect_lock_file(&file);
        expected.map_err(|error| FileError::io("lock", disk.locate(LOCK_FILE), error))?;
        if refusal.is_some() {
            disk.distrust_times();
        }
        let lock = Self {
            directory: handle,
            file: Some(file),
            is_exclusive: true,
        };
        Ok((lock, refusal))
    }

    /// Locks the directory of `disk` against stores, but not against other readers. Changes nothing,
    /// so the directory may be read-only.
    ///
    /// Fails with [`FileError::InUse`] if a store has the directory open.
    pub(crate) fn acquire_shared(disk: &OsDisk) -> Result<Self, FileError> {
        let operation = FlockOperation::NonBlockingLockShared;
        let (directory, _) = lock_handle(disk, operation)?;
        // A backup may have no lock file, or one that this process may not read.
        let file = disk.open_file(LOCK_FILE, OFlags::RDONLY).ok();
        let locked = file.as_ref().map(|file| flock(file, operation));
        if locked == Some(Err(Errno::WOULDBLOCK)) {
            return Err(in_use(disk));
        }
        Ok(Self {
            directory,
            file,
            is_exclusive: false,
        })
    }
}

/// Locks the handle of a directory. If the file system refuses that, returns the error instead of a copy
/// of the handle.
fn lock_handle(
    disk: &OsDisk,
    operation: FlockOperation,
) -> Result<(Option<File>, Option<io::Error>), FileError> {
    match flock(disk.handle(), operation) {
        // A copy of the handle shares its lock, so the lock can be released while the disk is in use.
        Ok(()) => match disk.handle().try_clone() {
            Ok(handle) => Ok((Some(handle), None)),
            Err(error) => Err(FileError::io("lock", disk.path().to_path_buf(), error)),
        },
        Err(Errno::WOULDBLOCK) => Err(in_use(disk)),
        Err(error) => Ok((None, Some(error.into()))),
    }
}

fn in_use(disk: &OsDisk) -> FileError {
    FileError::InUse {
        path: disk.path().to_path_buf(),
        pid: read_pid(disk),
    }
}

fn read_pid(disk: &OsDisk) -> Option<u32> {
    let file = disk.open_file(LOCK_FILE, OFlags::RDONLY).ok()?;
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
