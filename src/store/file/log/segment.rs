//! An open segment file.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use super::index::Position;
use crate::store::file::{
    disk::{Disk, DiskFile, PathChange, PathLookup},
    error::{FileError, is_full},
    format::{
        file_names,
        segment_head::{self, LogFormat, SALT_OFFSET, SEGMENT_HEAD_LEN},
    },
};

/// Maximum number of bytes that are written again at a time.
const REWRITE_BYTES: u64 = 1 << 20;

/// An open segment file.
pub(crate) struct Segment {
    pub(crate) id: u32,
    /// Part of the checksums of the frame headers; random for each file and never published.
    pub(crate) salt: u32,
    pub(crate) format: LogFormat,
    pub(crate) file: Box<dyn DiskFile>,
    /// The end of the frames.
    end: AtomicU32,
    /// Length of the segment's hint file, or 0.
    hint_len: AtomicU64,
    /// A hint was written, or would not save enough.
    hint_done: AtomicBool,
    /// The file was removed from the directory by a compaction.
    removed: AtomicBool,
    /// While this is the active segment: the offset and the checksum of the last frame, packed. Otherwise 0.
    last_frame: AtomicU64,
    /// The last frame at the last check; before, the salt in the head.
    checked_frame: AtomicU64,
}

impl Segment {
    /// Creates a segment after a log that is durable up to `durable`. Head and directory entry are
    /// durable when this returns.
    pub(crate) fn create(disk: &dyn Disk, id: u32, durable: Position) -> Result<Self, FileError> {
        let name = file_names::segment(id);
        Self::write_new(disk, id, &name, durable).map_err(|source| {
            if is_full(&source) {
                let path = disk.path().to_path_buf();
                return FileError::Full { path };
            }
            FileError::io("create", disk.locate(&name), source)
        })
    }

    fn write_new(disk: &dyn Disk, id: u32, name: &str, durable: Position) -> io::Result<Self> {
        let file = match disk.create(name) {
            // An earlier attempt failed and could not remove its file.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(name)?;
                disk.create(name)?
            }
            created => created?,
        };
        let salt = random_salt();
        let written = file
            .write_at(&segment_head::encode(id, salt, durable.pack()), 0)
            .and_then(|()| file.sync())
            .and_then(|()| disk.sync_entries());
        if let Err(error) = written {
            let _ = disk.remove(name);
            return Err(error);
        }
        Ok(Self::new(id, salt, LogFormat::V2, file))
    }

    /// Wraps an open file whose head was read.
    pub(crate) const fn new(
        id: u32,
        salt: u32,
        format: LogFormat,
        file: Box<dyn DiskFile>,
    ) -> Self {
        Self {
            id,
            salt,
            format,
            file,
            end: AtomicU32::new(0),
            hint_len: AtomicU64::new(0),
            hint_done: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            last_frame: AtomicU64::new(0),
            checked_frame: AtomicU64::new((SALT_OFFSET as u64) << 32 | salt as u64),
        }
    }

    /// Returns all bytes of the file.
    pub(crate) fn read_all(&self, disk: &dyn Disk) -> Result<Vec<u8>, FileError> {
        let bytes = crate::store::file::disk::read_all(self.file.as_ref());
        let path = || disk.locate(&file_names::segment(self.id));
        bytes.map_err(|error| FileError::io("read", path(), error))
    }

    /// Writes the frames from `offset` on again, so that the next sync writes them to the disk.
    pub(crate) fn rewrite_from(&self, mut offset: u64) -> io::Result<()> {
        let mut chunk = Vec::new();
        loop {
            let rest = u64::from(self.end()).saturating_sub(offset);
            chunk.resize(rest.min(REWRITE_BYTES) as usize, 0);
            let len = self.file.read_at(&mut chunk, offset)?;
            chunk.truncate(len);
            if chunk.is_empty() {
                return Ok(());
            }
            self.file.write_at(&chunk, offset)?;
            offset += len as u64;
        }
    }

    /// Frees the space of a segment whose frames are not needed, and marks it as compacted first.
    ///
    /// The mark is written in place, so it needs no space.
    pub(crate) fn discard_frames(&self) -> io::Result<()> {
        let mut head = [0; SEGMENT_HEAD_LEN];
        self.file.read_at(&mut head, 0)?;
        let mark = segment_head::compacted_mark(segment_head::stored_crc(&head));
        let offset = segment_head::COMPACTED_MARK_OFFSET as u64;
        self.file.write_at(&mark.to_le_bytes(), offset)?;
        self.file.sync()?;
        self.file.truncate(SEGMENT_HEAD_LEN as u64)
    }

    /// Returns the end of the frames.
    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Relaxed)
    }

    /// Sets the end of the frames.
    pub(crate) fn set_end(&self, end: u32) {
        self.end.store(end, Ordering::Relaxed);
    }

    /// Returns the length of the hint file, or 0 if there is none.
    pub(crate) fn hint_len(&self) -> u64 {
        self.hint_len.load(Ordering::Relaxed)
    }

    pub(crate) fn set_hint_len(&self, len: u64) {
        self.hint_len.store(len, Ordering::Relaxed);
    }

    /// Removes the file from the directory. An earlier attempt may have removed it.
    pub(crate) fn remove_file(&self, disk: &dyn Disk) -> io::Result<()> {
        self.removed.store(true, Ordering::Release);
        match disk.remove(&file_names::segment(self.id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Fails if the file was moved, deleted or replaced within the directory, but not by a compaction. Also
    /// fails if it is the active segment and was truncated.
    pub(crate) fn check_entry(&self, disk: &dyn Disk) -> Result<PathLookup, PathChange> {
        let lookup =
            self.check_unless_removed(|name| disk.check_entry(name, self.file.as_ref()))?;
        self.check_len(disk)?;
        Ok(lookup)
    }

    /// Fails if this is the active segment and was truncated.
    pub(super) fn check_len(&self, disk: &dyn Disk) -> Result<(), PathChange> {
        let last = self.last_frame.load(Ordering::Acquire);
        // Appends may have extended a truncated file again. Then the frame of the last check is missing.
        let checked = self.checked_frame.load(Ordering::Acquire);
        let is_intact = || self.has_end() && self.has_frame(last) && self.has_frame(checked);
        // Other code finds damage of a segment that has ended.
        if last == 0 || is_intact() || self.last_frame.load(Ordering::Acquire) == 0 {
            if last > 0 {
                self.checked_frame.store(last, Ordering::Release);
            }
            return Ok(());
        }
        Err(PathChange {
            path: disk.locate(&file_names::segment(self.id)),
            change: "was truncated",
        })
    }

    /// Returns `true` if the file is as long as its frames. An error of the disk is not a change.
    fn has_end(&self) -> bool {
        let last_byte = u64::from(self.end()).saturating_sub(1);
        let read = self.file.read_at(&mut [0], last_byte);
        read.map_or(true, |len| len == 1)
    }

    /// Returns `true` if the file still has these packed bytes. An error of the disk is not a change.
    fn has_frame(&self, packed: u64) -> bool {
        let mut found = [0; 4];
        let read = self.file.read_at(&mut found, packed >> 32);
        read.map_or(true, |_| u32::from_le_bytes(found) == packed as u32)
    }

    /// Records the last frame of the log, which is in this segment: its offset, its checksum, and its end.
    pub(super) fn set_last_frame(&self, offset: u32, checksum: u32, end: u32) {
        self.set_end(end);
        let packed = u64::from(offset) << 32 | u64::from(checksum);
        self.last_frame.store(packed, Ordering::Release);
    }

    /// Records that the log continues in another segment.
    pub(super) fn end_appends(&self) {
        self.last_frame.store(0, Ordering::Release);
    }

    fn check_unless_removed(
        &self,
        check: impl FnOnce(&str) -> Result<PathLookup, PathChange>,
    ) -> Result<PathLookup, PathChange> {
        let is_removed = || self.removed.load(Ordering::Acquire);
        if is_removed() {
            return Ok(PathLookup::Found);
        }
        match check(&file_names::segment(self.id)) {
            // A compaction has removed it during the check.
            Err(_) if is_removed() => Ok(PathLookup::Found),
            checked => checked,
        }
    }

    /// Returns `true` if the segment needs no (further) hint.
    pub(crate) fn is_hint_done(&self) -> bool {
        self.hint_done.load(Ordering::Relaxed)
    }

    /// Records if the segment needs no (further) hint.
    pub(crate) fn set_hint_done(&self, done: bool) {
        self.hint_done.store(done, Ordering::Relaxed);
    }
}

/// Returns a number that a client cannot guess, from the seed that the standard library draws for
/// its hash maps.
fn random_salt() -> u32 {
    let seed = RandomState::new().build_hasher().finish();
    let [a, b, c, d, ..] = seed.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
