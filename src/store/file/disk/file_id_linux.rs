//! The identity of a file by `statx`, which reads nothing else.
//!
//! Since Linux 6.13, a write to a file whose times were read gives it a time of its own, not that of the last
//! tick (`Documentation/filesystems/multigrain-ts.rst`). The `fdatasync` that follows then takes longer;
//! `benches/README.md` has the figures.

use std::{io, os::fd::AsFd, path::Path};

use rustix::{
    fs::{AtFlags, StatxFlags, makedev, statat, statx},
    io::Errno,
};

use super::FileId;

pub(super) fn at(directory: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<FileId> {
    match statx(directory.as_fd(), path, flags, StatxFlags::INO) {
        Ok(found) => Ok(FileId {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
        }),
        // Before Linux 4.11, or forbidden in a sandbox.
        Err(Errno::NOSYS | Errno::PERM) => {
            let found = statat(directory, path, flags)?;
            let (device, inode) = (found.st_dev, found.st_ino);
            Ok(FileId { device, inode })
        }
        Err(error) => Err(error.into()),
    }
}
