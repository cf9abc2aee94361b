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

use super::{Disk, DiskFile, EntryStamp, FileId, PathChange, PathLookup, file_id, nowait};
use crate::store::file::{
    error::SpecialFile,
    format::file_names::{LOCK_FILE, parse_segment},
};

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
    /// The file system may be remote, with times that are cached.
    is_remote: bool,
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
            is_remote: false,
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

    /// Opens `directory`. It and its missing parents are created if it does not exist. They are durable when this
    /// returns.
    pub(crate) fn create(directory: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)?;
        let disk = Self::open(directory)?;
        // The first segment is created after this, so a segment shows that the parents were synced.
        let names = disk.list()?;
        let mut ids = names.iter().filter_map(|name| parse_segment(name));
        if ids.next().is_none() {
            disk.sync_parents()?;
        }
        Ok(disk)
    }

    /// Syncs all parents. An earlier opening that was killed, or another process, may have created any of them.
    fn sync_parents(&self) -> io::Result<()> {
        for parent in self.resolved.ancestors().skip(1) {
            let parent = match File::open(parent) {
                Ok(parent) => parent,
                // A directory without permission to read cannot be synced alone.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return sync_file_system(&self.handle);
                }
                Err(error) => return Err(error),
            };
            // The root of a file system is not new.
            if parent.metadata()?.dev() != self.id.device {
                return Ok(());
            }
            parent.sync_all()?;
        }
        Ok(())
    }

    /// Returns the directory's handle.
    pub(crate) const fn handle(&self) -> &File {
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

    /// Sets the lock file that [`check`](Disk::check) expects.
    pub(crate) fn expect_lock_file(&mut self, file: &File) -> io::Result<()> {
        self.lock_file = Some(metadata_id(&file.metadata()?));
        Ok(())
    }

    /// Does not rely on the directory's times any more.
    pub(super) const fn distrust_times(&mut self) {
        self.is_remote = true;
    }

    fn check_lock_file(&self) -> Result<PathLookup, PathChange> {
        let Some(expected) = self.lock_file else {
            return Ok(PathLookup::Found);
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
        if self.is_remote {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let metadata = self.handle.metadata()?;
        // A program can set the time at which the names changed, but not the time of the last change.
        Ok(EntryStamp {
            seconds: metadata.ctime(),
            nanoseconds: metadata.ctime_nsec(),
        })
    }

    fn check_entry(&self, name: &str, file: &dyn DiskFile) -> Result<PathLookup, PathChange> {
        PathChange::check(|| self.resolved.join(name), self.file_id(name), file.id())
    }

    fn check(&self) -> Result<PathLookup, PathChange> {
        let found = existing(file_id::at(CWD, &self.resolved, AtFlags::empty()));
        let directory = PathChange::check(|| self.resolved.clone(), found, self.id)?;
        Ok(directory.and(self.check_lock_file()?))
    }
}

/// Syncs the whole file system of `file`, and no other one, which may hang.
#[cfg(target_os = "linux")]
fn sync_file_system(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Syncs all file systems, since this system cannot sync one.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
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
