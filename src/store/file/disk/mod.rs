//! The disk as the store sees it: one directory of files.
//!
//! Everything the store does to a disk goes through these two traits, so that the crash tests can
//! stand a simulated disk in their place and fail it at every single operation.

#[cfg(target_os = "linux")]
#[path = "nowait_linux.rs"]
mod cached;
#[cfg(not(target_os = "linux"))]
#[path = "nowait_fallback.rs"]
mod cached;
mod os;

use std::{
    io,
    path::{Path, PathBuf},
};

pub(super) use os::OsDisk;

/// One directory. Nothing here is durable until it was synced: a file's bytes by
/// [`DiskFile::sync`], its being there or gone by [`sync_entries`](Self::sync_entries).
pub(super) trait Disk: Send + Sync + 'static {
    /// The directory, for messages.
    fn path(&self) -> &Path;

    /// The names of the files in the directory.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file; an error where the name is taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file, to read and write.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Takes a name out of the directory.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    fn sync_entries(&self) -> io::Result<()>;

    /// Where a file of this name stands, for messages.
    fn locate(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// One open file.
pub(super) trait DiskFile: Send + Sync {
    /// Fills `into` from `offset` on; the number of bytes read is less only at the file's end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `head` from `offset` on, and `body` from where that ends, if that needs no waiting for
    /// the device; `false` where it would, or the file ends before.
    fn read_cached(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file off at `len`.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the file's bytes durable.
    fn sync(&self) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;
}
