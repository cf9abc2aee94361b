//! Inspection of a directory without changing it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::replay::{Damage, Replay};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::file::{
        disk::{self, Disk, DiskFile, dir_lock::DirectoryLock, os::OsDisk},
        error::FileError,
        format::{
            file_names,
            frame::{FrameHeader, FrameKind},
            frames::{Frames, SegmentItem},
            hint,
            segment_head::{self, SegmentHead},
        },
        log::index::{IndexEntry, Position},
    },
};

/// The content of a store's directory. All files are read, and all checksums are verified.
#[derive(Debug)]
pub struct Inspection {
    segments: Vec<SegmentReport>,
    missing: Vec<PathBuf>,
    entries: Vec<SessionEntry>,
    live_bytes: u64,
}

/// The content of one segment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentReport {
    /// The file's path; empty for bytes in memory.
    pub path: PathBuf,
    /// The file's length in bytes.
    pub bytes: u64,
    /// `true` if the head is intact. Otherwise no frame can be read.
    pub readable: bool,
    /// Number of intact frames.
    pub frames: u64,
    /// Number of damaged places that are followed by a frame.
    pub damaged: u64,
    /// Bytes in these places.
    pub damaged_bytes: u64,
    /// Bytes at the end that are not a frame: the rest of an append that a crash interrupted.
    pub torn_bytes: u64,
    /// `true` if the hint file matches the segment, `None` if there is no hint file.
    pub hint_matches: Option<bool>,
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
}

impl Inspection {
    /// Reads all segments and hint files of the store in `directory`. Blocks meanwhile.
    ///
    /// Calls `progress` after each segment with the number of bytes that were read, and with the
    /// total. The directory is locked while it is read, so no store may have it open.
    ///
    /// # Errors
    /// If the directory is in use, contains no store or one of another format version, or if a file
    /// cannot be read. Damage is not an error but part of the result.
    pub fn read(
        directory: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self, FileError> {
        let directory = directory.as_ref();
        let fail = |error| FileError::io("read", directory.to_path_buf(), error);
        let mut disk = OsDisk::open(directory).map_err(fail)?;
        let is_store_file = |name: &String| {
            name == file_names::LOCK_FILE || file_names::parse_segment(name).is_some()
        };
        if !disk.list().map_err(fail)?.iter().any(is_store_file) {
            let not_found = io::ErrorKind::NotFound.into();
            let path = directory.to_path_buf();
            return Err(FileError::io("find a session store in", path, not_found));
        }
        let _lock = DirectoryLock::acquire(&mut disk)?;
        let names = disk.list().map_err(fail)?;
        let ids = names
            .iter()
            .filter_map(|name| file_names::parse_segment(name));
        let mut ids: Vec<u32> = ids.collect();
        ids.sort_unstable();
        let mut files = Vec::new();
        for id in &ids {
            files.push((*id, SegmentFiles::open(&disk, *id)?));
        }
        let (mut done, total) = (0, files.iter().map(|(_, files)| files.len).sum());
        let mut builder = InspectionBuilder::default();
        for (id, files) in files {
            builder.add_segment(id, &files)?;
            done += files.len;
            progress(done, total);
        }
        Ok(builder.finish(&disk, &ids))
    }

    /// Returns one report for each segment, ordered by age, the oldest first.
    pub fn segments(&self) -> &[SegmentReport] {
        &self.segments
    }

    /// Returns the paths of segments that are missing.
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
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

    /// Returns `true` if there is no damage, no missing segment, and no wrong hint file. An
    /// incomplete last append is not damage.
    pub fn is_sound(&self) -> bool {
        let is_sound = |report: &SegmentReport| {
            report.readable && report.damaged == 0 && report.hint_matches != Some(false)
        };
        self.missing.is_empty() && self.segments.iter().all(is_sound)
    }
}

impl SegmentReport {
    /// Inspects the bytes of a segment, and those of its hint file.
    // Public only for the fuzz targets.
    #[doc(hidden)]
    pub fn from_bytes(segment: &[u8], hint: Option<&[u8]>) -> Self {
        scan_segment(segment, hint, |_, _| {})
    }
}

/// The result of the segments that were read so far.
#[derive(Default)]
struct InspectionBuilder {
    replay: Replay,
    damage: Vec<Damage>,
    segments: Vec<SegmentReport>,
    /// The last segment has an end frame, so another one must follow.
    ended: bool,
}

impl InspectionBuilder {
    fn add_segment(&mut self, id: u32, files: &SegmentFiles) -> Result<(), FileError> {
        let (bytes, hint) = files.read()?;
        if let SegmentHead::OtherVersion(found) = SegmentHead::decode(&bytes, id) {
            return Err(FileError::unsupported_format(files.path.clone(), found));
        }
        let mut report = scan_segment(&bytes, hint.as_deref(), |offset, item| {
            let position = Position {
                segment: id,
                offset,
            };
            match item {
                Ok((header, payload)) => {
                    self.ended = header.kind == FrameKind::End;
                    self.replay.apply(position, header, payload);
                }
                Err((len, key)) => self.damage.push(Damage { position, len, key }),
            }
        });
        report.path.clone_from(&files.path);
        self.segments.push(report);
        Ok(())
    }

    fn finish(mut self, disk: &OsDisk, ids: &[u32]) -> Inspection {
        for damage in &self.damage {
            self.replay.handle_damage(damage);
        }
        let follows = u32::from(self.ended);
        let last = ids.last().map_or(0, |last| last.saturating_add(follows));
        let missing = (self.replay.compacted.saturating_add(1)..=last)
            .filter(|id| !ids.contains(id))
            .map(|id| disk.locate(&file_names::segment(id)));
        Inspection {
            segments: self.segments,
            missing: missing.collect(),
            live_bytes: self.replay.index.live_bytes(),
            entries: session_entries(&self.replay),
        }
    }
}

/// A frame and its payload, or the length of damage and the key of the damaged frame.
type FrameOrDamage<'a> = Result<(&'a FrameHeader, &'a [u8]), (u64, Option<StoreKey>)>;

fn scan_segment(
    bytes: &[u8],
    hint: Option<&[u8]>,
    mut visit: impl FnMut(u32, FrameOrDamage<'_>),
) -> SegmentReport {
    let mut report = SegmentReport {
        bytes: bytes.len() as u64,
        ..SegmentReport::default()
    };
    let id = segment_head::stored_id(bytes);
    let SegmentHead::Salt(salt) = SegmentHead::decode(bytes, id) else {
        return report;
    };
    report.readable = true;
    for item in Frames::new(bytes, salt) {
        match item {
            SegmentItem::Frame {
                offset,
                header,
                payload,
            } => {
                report.frames += 1;
                visit(offset, Ok((&header, payload)));
            }
            SegmentItem::Damage { offset, len, key } => {
                report.damaged += 1;
                report.damaged_bytes += len;
                visit(offset, Err((len, key)));
            }
            SegmentItem::TornTail { len, .. } => report.torn_bytes = len,
            SegmentItem::Preallocated { .. } => {}
        }
    }
    report.hint_matches = hint.map(|hint| {
        let decodes = hint::decode(hint, id, salt, bytes.len() as u64).is_some();
        let expected = hint::encode(bytes, id, salt);
        decodes && expected.is_some_and(|expected| expected == hint)
    });
    report
}

fn session_entries(replay: &Replay) -> Vec<SessionEntry> {
    let convert = |(key, entry): (StoreKey, IndexEntry)| SessionEntry {
        key,
        version: entry.version,
        expires: entry.expires,
        bytes: entry.len,
        destroyed: entry.tombstone,
        tagged: entry.tagged,
    };
    let entries = replay.index.entries(|_| true);
    entries.into_iter().map(convert).collect()
}

/// The files of one segment.
struct SegmentFiles {
    path: PathBuf,
    log: Box<dyn DiskFile>,
    hint: Option<Box<dyn DiskFile>>,
    len: u64,
}

impl SegmentFiles {
    fn open(disk: &dyn Disk, id: u32) -> Result<Self, FileError> {
        let path = disk.locate(&file_names::segment(id));
        let fail = |error| FileError::io("read", path.clone(), error);
        let log = disk.open(&file_names::segment(id)).map_err(fail)?;
        let len = log.len().map_err(fail)?;
        let hint = disk.open(&file_names::hint(id)).ok();
        Ok(Self {
            path,
            log,
            hint,
            len,
        })
    }

    fn read(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), FileError> {
        let fail = |error| FileError::io("read", self.path.clone(), error);
        let hint = self.hint.as_deref().map(disk::read_all).transpose();
        let log = disk::read_all(self.log.as_ref());
        Ok((log.map_err(fail)?, hint.map_err(fail)?))
    }
}
