//! Inspection of a directory without changing it.

use std::{io, path::Path};

use super::{replay::Replay, report::SegmentReport, scan::LogScan};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    seal::KeyId,
    store::file::{
        disk::{Disk, dir_lock::DirectoryLock, os::OsDisk},
        error::FileError,
        finding::Finding,
        format::file_names,
        log::index::IndexEntry,
    },
};

/// The content of a store's directory. All files are read, and all checksums are verified.
#[derive(Debug)]
pub struct Inspection {
    segments: Vec<SegmentReport>,
    findings: Vec<Finding>,
    entries: Vec<SessionEntry>,
    live_bytes: u64,
}

/// The state of one session key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEntry {
    /// The store key: a one-way hash of the session id.
    pub key: StoreKey,
    /// The version of the record or the tombstone.
    pub version: u64,
    /// The expiry.
    pub expires: Timestamp,
    /// Length of the stored data and tags in bytes.
    pub bytes: u32,
    /// `true` if the session was destroyed: the entry is a tombstone.
    pub destroyed: bool,
    /// `true` if the session has tags.
    pub tagged: bool,
    /// `true` if data and tags are encrypted.
    pub encrypted: bool,
    /// The id of the key that encrypted them, as the file states it. `None` also if it is unreadable, or
    /// if the log has more than 253 keys.
    pub key_id: Option<KeyId>,
}

impl Inspection {
    /// Reads all segments and hint files of the store in `directory`. Blocks meanwhile.
    ///
    /// Calls `progress` after each segment with the number of bytes that were read, and with the
    /// total. The directory is locked while it is read, so no store may have it open. It may be
    /// read-only, such as that of a backup.
    ///
    /// # Errors
    /// If the directory is in use, contains no store or one of another format version, or if a file
    /// cannot be read. Damage is not an error but part of the result.
    pub fn read(
        directory: impl AsRef<Path>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Self, FileError> {
        let directory = directory.as_ref();
        let fail = |error| FileError::io("read", directory.to_path_buf(), error);
        let disk = OsDisk::open_read_only(directory).map_err(fail)?;
        let is_store_file = |name: &String| {
            name == file_names::LOCK_FILE
                || file_names::parse_segment(name).is_some()
                || file_names::parse_hint(name).is_some()
        };
        if !disk.list().map_err(fail)?.iter().any(is_store_file) {
            let not_found = io::ErrorKind::NotFound.into();
            let path = directory.to_path_buf();
            return Err(FileError::io("find a session store in", path, not_found));
        }
        let _lock = DirectoryLock::acquire_shared(&disk)?;
        let scan = LogScan::read(&disk, None, true, progress)?;
        Ok(Self {
            findings: scan.findings(),
            live_bytes: scan.replay.index.live_bytes(),
            entries: session_entries(&scan.replay),
            segments: scan.reports,
        })
    }

    /// Returns one report for each segment, ordered by age, the oldest first.
    pub fn segments(&self) -> &[SegmentReport] {
        &self.segments
    }

    /// Returns all problems, ordered by file and offset.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the state of every key, in no particular order. Expired entries are included until the
    /// store collects them.
    pub fn entries(&self) -> &[SessionEntry] {
        &self.entries
    }

    /// Returns the number of bytes of the frames that are in use.
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Returns `true` if no durable data is lost, or an earlier opening has handled the loss. By
    /// default a store opens only then.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(Finding::is_loss)
    }
}

fn session_entries(replay: &Replay) -> Vec<SessionEntry> {
    let convert = |(key, entry): (StoreKey, IndexEntry)| SessionEntry {
        key,
        version: entry.version,
        expires: entry.expires,
        bytes: entry.len,
        destroyed: entry.tombstone,
        tagged: entry.tagged,
        encrypted: entry.is_encrypted(),
        key_id: replay.keys.key(entry.key_slot),
    };
    let entries = replay.index.entries(|_| true);
    entries.into_iter().map(convert).collect()
}
