//! Looking into a directory without changing anything in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    FileError,
    disk::{Disk, DiskFile, OsDisk},
    frame::{Header, Kind},
    hint,
    index::{Position, SHARDS},
    lock::DirectoryLock,
    names,
    replay::{Damage, Replay},
    scan::{Frames, Piece},
    segment::{FORMAT, Head, read_head, read_id},
};
use crate::{clock::Timestamp, id::StoreKey};

/// What the files of a directory hold, read in full: every frame's check sums are verified.
#[derive(Debug)]
pub struct Inspection {
    segments: Vec<SegmentReport>,
    missing: Vec<PathBuf>,
    entries: Vec<SessionEntry>,
    live_bytes: u64,
}

/// What one segment file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentReport {
    /// The file; empty where bytes in memory were looked at.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether its head could be read; nothing else can be where it could not.
    pub readable: bool,
    /// Whole frames.
    pub frames: u64,
    /// Damaged places with frames behind them.
    pub damaged: u64,
    /// Bytes in those places.
    pub damaged_bytes: u64,
    /// Bytes at the end that are no frame: what a crash leaves of the last append.
    pub torn_bytes: u64,
    /// Whether the hint file says what the segment says; `None` where there is none.
    pub hint: Option<bool>,
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEntry {
    /// The key: a one-way hash of the session's id.
    pub key: StoreKey,
    /// The version of the record, or of the tombstone.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// Length of the data in bytes.
    pub bytes: u32,
    /// The session was destroyed.
    pub destroyed: bool,
    /// How many tags it carries.
    pub tags: usize,
}

impl Inspection {
    /// Reads all segments and hints of the store in `directory`, which nobody may have open
    /// meanwhile. `progress` is told how many bytes of how many are read. Blocks.
    ///
    /// # Errors
    /// When the directory is in use or is none of a store, or a file cannot be read. Damage is no
    /// error: it is reported.
    pub fn of(
        directory: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self, FileError> {
        let directory = directory.as_ref();
        let fail = |error| FileError::io("read", directory.to_path_buf(), error);
        directory.read_dir().map_err(fail)?;
        let disk = OsDisk::at(directory).map_err(fail)?;
        let is_of_a_store =
            |name: &String| name == names::LOCK || names::parse_segment(name).is_some();
        if !disk.list().map_err(fail)?.iter().any(is_of_a_store) {
            let nothing = io::ErrorKind::NotFound.into();
            let path = directory.to_path_buf();
            return Err(FileError::io("find a session store in", path, nothing));
        }
        let _lock = DirectoryLock::take(directory)?;
        let names = disk.list().map_err(fail)?;
        let mut ids: Vec<u32> = names
            .iter()
            .filter_map(|n| names::parse_segment(n))
            .collect();
        ids.sort_unstable();
        let mut files = Vec::new();
        for id in &ids {
            files.push((*id, Files::open(&disk, *id)?));
        }
        let (mut done, of) = (0, files.iter().map(|(_, files)| files.len).sum());
        let mut reading = Reading::default();
        for (id, files) in files {
            reading.segment(id, &files)?;
            done += files.len;
            progress(done, of);
        }
        Ok(reading.finish(&disk, &ids))
    }

    /// One report for each segment, the oldest first.
    pub fn segments(&self) -> &[SegmentReport] {
        &self.segments
    }

    /// Segments that should be there and are not.
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// What is known of every key, in no particular order; expired entries are among them until
    /// they are collected.
    pub fn entries(&self) -> &[SessionEntry] {
        &self.entries
    }

    /// Bytes of the frames that count.
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Whether there is no damage, nothing missing, and no hint that says something else than its
    /// segment. An unfinished last append is no damage.
    pub fn is_sound(&self) -> bool {
        let sound = |report: &SegmentReport| {
            report.readable && report.damaged == 0 && report.hint != Some(false)
        };
        self.missing.is_empty() && self.segments.iter().all(sound)
    }
}

impl SegmentReport {
    /// Looks at a segment's bytes, and at those of its hint file where there is one.
    pub fn of_bytes(segment: &[u8], hint: Option<&[u8]>) -> Self {
        read(segment, hint, |_, _| {})
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    replay: Replay,
    damage: Vec<Damage>,
    segments: Vec<SegmentReport>,
    /// Whether the last segment says that another follows it.
    ended: bool,
}

impl Reading {
    fn segment(&mut self, id: u32, files: &Files) -> Result<(), FileError> {
        let (bytes, hint) = files.read()?;
        let mut report = read(&bytes, hint.as_deref(), |offset, seen| match seen {
            Ok((header, payload)) => {
                self.ended = header.kind == Kind::End;
                self.replay.frame(id, offset, header, payload);
            }
            Err((len, key)) => {
                let at = Position {
                    segment: id,
                    offset,
                };
                self.damage.push(Damage { at, len, key });
            }
        });
        report.path.clone_from(&files.path);
        self.segments.push(report);
        Ok(())
    }

    fn finish(mut self, disk: &OsDisk, ids: &[u32]) -> Inspection {
        for damage in &self.damage {
            self.replay.conclude(damage);
        }
        // Nothing has expired at the beginning of time: tombstones and the like are shown too.
        self.replay.tidy(Timestamp::default());
        let behind = u32::from(self.ended);
        let last = ids.last().map_or(0, |last| last.saturating_add(behind));
        let missing = (self.replay.cleaned.saturating_add(1)..=last)
            .filter(|id| !ids.contains(id))
            .map(|id| disk.locate(&names::segment(id)));
        Inspection {
            segments: self.segments,
            missing: missing.collect(),
            live_bytes: self.replay.index.weight() + self.replay.tags.weight(),
            entries: entries(&self.replay),
        }
    }
}

/// A frame and its payload, or the length of damage and the key that it was about.
type Seen<'a> = Result<(&'a Header, &'a [u8]), (u64, Option<StoreKey>)>;

fn read(bytes: &[u8], hint: Option<&[u8]>, mut see: impl FnMut(u32, Seen<'_>)) -> SegmentReport {
    let mut report = SegmentReport {
        bytes: bytes.len() as u64,
        ..SegmentReport::default()
    };
    let id = read_id(bytes);
    let Head::Salt(salt) = read_head(bytes, id) else {
        return report;
    };
    report.readable = true;
    for piece in Frames::of(bytes, salt) {
        match piece {
            Piece::Frame {
                at,
                header,
                payload,
            } => {
                report.frames += 1;
                see(at, Ok((&header, payload)));
            }
            Piece::Damage { at, len, key } => {
                report.damaged += 1;
                report.damaged_bytes += len;
                see(at, Err((len, key)));
            }
            Piece::Torn { len, .. } => report.torn_bytes = len,
            Piece::Room { .. } => {}
        }
    }
    report.hint = hint.map(|hint| {
        let told = hint::decode(hint, id, salt, bytes.len() as u64);
        let right = hint::encode(bytes, id, salt);
        told.is_some() && right.is_some_and(|right| right == hint)
    });
    report
}

fn entries(replay: &Replay) -> Vec<SessionEntry> {
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        found.extend(replay.index.drain(shard, |_, _| true));
    }
    let entry = |(key, entry): (StoreKey, super::index::Entry)| SessionEntry {
        key,
        version: entry.version,
        expires: entry.expires,
        bytes: entry.len,
        destroyed: entry.tombstone,
        tags: replay.tags.of(&key).len(),
    };
    found.into_iter().map(entry).collect()
}

/// The files of one segment.
struct Files {
    path: PathBuf,
    log: Box<dyn DiskFile>,
    hint: Option<Box<dyn DiskFile>>,
    len: u64,
}

impl Files {
    fn open(disk: &dyn Disk, id: u32) -> Result<Self, FileError> {
        let path = disk.locate(&names::segment(id));
        let fail = |error| FileError::io("read", path.clone(), error);
        let log = disk.open(&names::segment(id)).map_err(fail)?;
        let len = log.len().map_err(fail)?;
        let hint = disk.open(&names::hint(id)).ok();
        Ok(Self {
            path,
            log,
            hint,
            len,
        })
    }

    fn read(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), FileError> {
        let fail = |error| FileError::io("read", self.path.clone(), error);
        let hint = self.hint.as_deref().map(whole).transpose();
        Ok((whole(self.log.as_ref()).map_err(fail)?, hint.map_err(fail)?))
    }
}

fn whole(file: &dyn DiskFile) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The newest format version that this crate writes and reads.
pub const FORMAT_VERSION: u32 = FORMAT;
