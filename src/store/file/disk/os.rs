//! The operating system's file system.

use std::{
    fs::{DirBuilder, File, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat,
};

use super::{Disk, DiskFile, EntryStamp, FileId, PathChange, file_id, nowait};
use crate::store::file::{error::SpecialFile, format::file_names::LOCK_FILE};

/// A directory of the file system: mode 0700, with files of mode 0600.
///
/// All operations are relative to one open handle. A later change of the path, such as a symbolic link
/// that is switched to another directory, therefore concerns only messages.
pub(crate) struct OsDisk {
    /// The path as the caller wrote it, for messages.
    path: PathBuf,
    /// The path without symbolic links, as it was when the directory was opened.
    resolved: PathBuf,
    handle: File,
    /// The identity of the directory.
    id: FileId,
    /// The lock file that this process has locked.
    lock_file: Option<FileId>,
    /// Set if the file system refuses to lock the directory, so that only the lock file keeps others out.
    needs_lock_file: bool,
    /// The kind of access to existing files.
    file_access: OFlags,
}

impl OsDisk {
    /// Opens `directory`, which must exist.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        Self::open_with(directory, OFlags::RDONLY)
    }

    /// Opens `directory` for the kind of access in `flags`.
    pub(crate) fn open_with(directory: &Path, flags: OFlags) -> io::Result<Self> {
        let resolved = directory.canonicalize()?;
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = File::from(openat(CWD, &resolved, flags, Mode::empty())?);
        Ok(Self {
            path: directory.to_path_buf(),
            resolved,
            id: metadata_id(&handle.metadata()?),
            handle,
            lock_file: None,
            needs_lock_file: false,
            file_access: OFlags::RDWR,
        })
    }

    /// Opens `directory`, which must exist, to read files only.
    pub(crate) fn open_read_only(directory: &Path) -> io::Result<Self> {
        let disk = Self::open(directory)?;
        let file_access = OFlags::RDONLY;
        Ok(Self {
            file_access,
            ..disk
        })
    }

    /// Opens `directory`, which is created if it does not exist.
    pub(crate) fn create(directory: &Path) -> io::Result<Self> {
        if !directory.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            if let Some(parent) = directory.parent().filter(|p| !p.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Self::open(directory)
    }

    /// Returns the directory's handle.
    pub(super) const fn handle(&self) -> &File {
        &self.handle
    }

    /// Opens a regular file of the directory, without following a link. A new file is readable and writable
    /// only for its owner. Fails with [`SpecialFile`] if the name is that of a file of another kind.
    pub(super) fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // The opening of a pipe would wait for another process.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(&self.handle, name, flags, mode) {
            Ok(file) => File::from(file),
            Err(error) => {
                let found = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).ok();
                return Err(found.and_then(special_file).unwrap_or_else(|| error.into()));
            }
        };
        match special_file(fstat(&file)?) {
            Some(error) => Err(error),
            None => Ok(file),
        }
    }

    /// Sets the lock file that [`check`](Disk::check) expects, and whether it is the only lock.
    pub(crate) fn expect_lock_file(&mut self, file: &File, is_only: bool) -> io::Result<()> {
        self.lock_file = Some(metadata_id(&file.metadata()?));
        self.needs_lock_file = is_only;
        Ok(())
    }

    fn check_lock_file(&self) -> Result<(), PathChange> {
        let Some(expected) = self.lock_file else {
            return Ok(());
        };
        let found = self.file_id(LOCK_FILE);
        PathChange::check(|| self.resolved.join(LOCK_FILE), found, expected)
    }
}

impl Disk for OsDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        OsFile::boxed(file)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.open_file(name, self.file_access)?;
        OsFile::boxed(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn sync_entries(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn file_id(&self, name: &str) -> io::Result<Option<FileId>> {
        existing(file_id::at(
            &self.handle,
            name.as_ref(),
            AtFlags::SYMLINK_NOFOLLOW,
        ))
    }

    fn entry_stamp(&self) -> io::Result<EntryStamp> {
        let metadata = self.handle.metadata()?;
        Ok(EntryStamp {
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }

    /// One system call if the directory is locked, since the path leads through the directory.
    fn check_file(&self, name: &str, file: &dyn DiskFile) -> Result<(), PathChange> {
        let path = self.resolved.join(name);
        let found = existing(file_id::at(CWD, &path, AtFlags::SYMLINK_NOFOLLOW));
        PathChange::check(|| path, found, file.id()).or_else(|change| {
            // If the directory has changed, so have its files.
            self.check()?;
            Err(change)
        })?;
        match self.needs_lock_file {
            true => self.check_lock_file(),
            false => Ok(()),
        }
    }

    fn check_entry(&self, name: &str, file: &dyn DiskFile) -> Result<(), PathChange> {
        PathChange::check(|| self.resolved.join(name), self.file_id(name), file.id())
    }

    fn check(&self) -> Result<(), PathChange> {
        let found = existing(file_id::at(CWD, &self.resolved, AtFlags::empty()));
        PathChange::check(|| self.resolved.clone(), found, self.id)?;
        self.check_lock_file()
    }
}

/// Returns an error if a file is not regular.
fn special_file(stat: Stat) -> Option<io::Error> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return None,
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    Some(io::Error::other(SpecialFile(kind)))
}

/// Returns `None` if there is no such file.
fn existing(id: io::Result<FileId>) -> io::Result<Option<FileId>> {
    match id {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        id => id.map(Some),
    }
}

fn metadata_id(metadata: &Metadata) -> FileId {
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

struct OsFile {
    file: File,
    id: FileId,
}

impl OsFile {
    fn boxed(file: File) -> io::Result<Box<dyn DiskFile>> {
        let id = metadata_id(&file.metadata()?);
        Ok(Box::new(Self { file, id }))
    }
}

impl DiskFile for OsFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read_len = 0;
        while let Some(rest) = into.get_mut(read_len..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + read_len as u64) {
                Ok(0) => break,
                Ok(read) => read_len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read_len)
    }

    fn read_nowait(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
        nowait::read(&self.file, head, body, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn id(&self) -> FileId {
        self.id
    }
}
