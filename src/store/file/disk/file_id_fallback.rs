//! The identity of a file, for systems without `statx`.

use std::{io, os::fd::AsFd, path::Path};

use rustix::fs::{AtFlags, statat};

use super::FileId;

pub(super) fn at(directory: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<FileId> {
    let stat = statat(directory, path, flags)?;
    Ok(FileId {
        #[allow(clippy::unnecessary_cast, reason = "the type depends on the system")]
        device: stat.st_dev as u64,
        #[allow(clippy::unnecessary_cast, reason = "the type depends on the system")]
        inode: stat.st_ino as u64,
    })
}
