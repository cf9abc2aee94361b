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
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the files is not enough. A child process that another thread is starting holds
        // copies of the descriptors for a moment, and with them the locks.
        for file in [Some(&self.file), self.directory.as_ref()] {
            let _ = file.map(|file| flock(file, FlockOperation::Unlock));
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
        let in_use = || FileError::InUse {
            path: directory(),
            pid: read_pid(disk),
        };
        let refusal = match flock(disk.handle(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => None,
            Err(Errno::WOULDBLOCK) => return Err(in_use()),
            Err(error) => Some(io::Error::from(error)),
        };
        // A copy of the handle shares its lock, so the lock can be released while the disk is in use.
        let handle = refusal.is_none().then(|| disk.handle().try_clone());
        let file = disk.open_file(LOCK_FILE, OFlags::RDWR | OFlags::CREATE);
        let mut lock = Self {
            directory: handle.transpose().map_err(fail)?,
            file: file.map_err(fail)?,
        };
        match flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use()),
            Err(error) => return Err(fail(error.into())),
        }
        // The id is only for messages, so a full disk is not an error.
        let _ = write_pid(&mut lock.file);
        let expected = disk.expect_lock_file(&lock.file);
        expected.map_err(|error| FileError::io("lock", disk.locate(LOCK_FILE), error))?;
        Ok((lock, refusal))
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
