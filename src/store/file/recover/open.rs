//! Opening a store: reading the log and continuing at its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::take,
    sync::{Arc, atomic::AtomicU64},
};

use super::replay::{Damage, Replay};
use crate::store::file::{
    disk::{self, Disk, DiskFile},
    error::FileError,
    event::FileEvent,
    format::{
        file_names,
        frame::{FrameHeader, FrameKind, HEADER_LEN},
        frames::{Frames, SegmentItem},
        hint,
        segment_head::{SEGMENT_HEAD_LEN, SegmentHead},
    },
    log::{
        append_log::AppendLog, engine::FileEngine, index::Position, log_writer::LogWriter,
        segment::Segment, space::SpaceUsage,
    },
    options::Options,
    stats::{FileCounters, add},
};

/// Distance between the greatest known version and the first new one. The versions in between may
/// belong to writes that a power failure took; no store writes that often between two openings.
const VERSION_GAP: u64 = 1 << 32;

/// Opens the store on `disk`. A crash may interrupt every step; the next opening repeats it.
pub(crate) fn open(disk: Box<dyn Disk>, options: Options) -> Result<FileEngine, FileError> {
    let mut reader = LogReader::new(disk.as_ref(), &options)?;
    reader.read_all()?;
    let recovered = reader.finish()?;
    recovered.open(disk, options)
}

/// A segment file of the directory.
struct SegmentFile {
    file: Box<dyn DiskFile>,
    len: u64,
}

impl SegmentFile {
    fn open(disk: &dyn Disk, id: u32) -> Result<Self, FileError> {
        let name = file_names::segment(id);
        let open = || {
            let file = disk.open(&name)?;
            let len = file.len()?;
            Ok(Self { file, len })
        };
        open().map_err(|error| FileError::io("open", disk.locate(&name), error))
    }
}

/// The state while the files of a directory are read.
struct LogReader<'a> {
    disk: &'a dyn Disk,
    options: &'a Options,
    files: BTreeMap<u32, SegmentFile>,
    hints: BTreeSet<u32>,
    /// The last segment with frames.
    last_used: u32,
    replay: Replay,
    segments: BTreeMap<u32, Arc<Segment>>,
    /// The last segment with frames has an end frame.
    ended: bool,
    damage: Vec<Damage>,
    /// Segments up to this number are missing and not needed, but the log has no compacted frame for
    /// them yet.
    skipped: u32,
    counters: FileCounters,
    total_bytes: u64,
}

impl<'a> LogReader<'a> {
    fn new(disk: &'a dyn Disk, options: &'a Options) -> Result<Self, FileError> {
        let fail = |error| FileError::io("list", disk.path().to_path_buf(), error);
        let names = disk.list().map_err(fail)?;
        let mut files = BTreeMap::new();
        let ids = names
            .iter()
            .filter_map(|name| file_names::parse_segment(name));
        for id in ids {
            files.insert(id, SegmentFile::open(disk, id)?);
        }
        let hints = names.iter().filter_map(|name| file_names::parse_hint(name));
        let used =
            |(id, file): (&u32, &SegmentFile)| (file.len > SEGMENT_HEAD_LEN as u64).then_some(*id);
        Ok(Self {
            disk,
            options,
            hints: hints.collect(),
            last_used: files.iter().filter_map(used).next_back().unwrap_or(0),
            files,
            replay: Replay::default(),
            segments: BTreeMap::new(),
            ended: false,
            damage: Vec::new(),
            skipped: 0,
            counters: FileCounters::default(),
            total_bytes: 0,
        })
    }

    fn read_all(&mut self) -> Result<(), FileError> {
        let total = self.files.values().map(|file| file.len).sum();
        let mut done = 0;
        while let Some((id, file)) = self.files.pop_first() {
            done += file.len;
            if file.len > 0 {
                self.read_segment(id, file)?;
            } else if id < self.last_used {
                // A compaction truncated it because there was no space for the compacted frame.
                self.skipped = id;
            }
            self.options.emit(&FileEvent::Opening { done, total });
        }
        Ok(())
    }

    fn read_segment(&mut self, id: u32, file: SegmentFile) -> Result<(), FileError> {
        let path = self.disk.locate(&file_names::segment(id));
        let fail = |error| {
            let path = self.disk.locate(&file_names::segment(id));
            FileError::io("read", path, error)
        };
        let mut head = [0; SEGMENT_HEAD_LEN];
        file.file.read_at(&mut head, 0).map_err(fail)?;
        let salt = match SegmentHead::decode(&head, id) {
            SegmentHead::Salt(salt) => salt,
            SegmentHead::OtherVersion(found) => {
                return Err(FileError::unsupported_format(path, found));
            }
            // A crash interrupted the creation of this segment, before its head was durable.
            SegmentHead::Damaged if id > self.last_used => return Ok(()),
            SegmentHead::Damaged if self.options.allow_data_loss => {
                let event = FileEvent::SegmentSkipped { path: &path };
                self.options.emit(&event);
                return Ok(());
            }
            SegmentHead::Damaged => return Err(FileError::DamagedSegment { path }),
        };
        let segment = Segment::new(id, salt, file.file);
        let (outcome, hint_len) = match self.apply_hint(&segment, file.len) {
            Some(applied) => applied,
            None => (self.apply_frames(&segment).map_err(fail)?, 0),
        };
        if id == self.last_used {
            self.ended = outcome.ended;
        }
        self.total_bytes += hint_len + file.len - outcome.truncated;
        if hint_len > 0 {
            segment.set_hint_len(hint_len);
            segment.mark_hint_done();
        }
        self.segments.insert(id, Arc::new(segment));
        Ok(())
    }

    /// Applies the segment's hint file, if there is a usable one. Returns its length, too.
    fn apply_hint(&mut self, segment: &Segment, len: u64) -> Option<(SegmentOutcome, u64)> {
        let id = segment.id;
        if !self.hints.contains(&id) {
            return None;
        }
        let name = file_names::hint(id);
        let bytes = self.disk.open(&name);
        let bytes = bytes.and_then(|file| disk::read_all(file.as_ref()));
        let bytes = bytes.unwrap_or_default();
        let Some(entries) = hint::decode(&bytes, id, segment.salt, len) else {
            let path = self.disk.locate(&name);
            self.options.emit(&FileEvent::HintIgnored { path: &path });
            return None;
        };
        let mut outcome = SegmentOutcome::default();
        for entry in entries {
            outcome.ended |= entry.header.kind == FrameKind::End;
            let position = Position {
                segment: id,
                offset: entry.offset,
            };
            self.replay.apply(position, &entry.header, entry.payload);
        }
        add(&self.counters.hints_used, 1);
        self.hints.remove(&id);
        // The next append makes the hint of an active segment out of date.
        if id >= self.last_used && !outcome.ended {
            let _ = self.disk.remove(&name);
            return Some((outcome, 0));
        }
        Some((outcome, bytes.len() as u64))
    }

    /// Reads the whole segment and applies its frames.
    fn apply_frames(&mut self, segment: &Segment) -> io::Result<SegmentOutcome> {
        let bytes = disk::read_all(segment.file.as_ref())?;
        let id = segment.id;
        let mut outcome = SegmentOutcome::default();
        for item in Frames::new(&bytes, segment.salt) {
            let (offset, len, key) = match item {
                SegmentItem::Frame {
                    offset,
                    header,
                    payload,
                } => {
                    outcome.ended |= header.kind == FrameKind::End;
                    let position = Position {
                        segment: id,
                        offset,
                    };
                    self.replay.apply(position, &header, payload);
                    continue;
                }
                SegmentItem::Damage { offset, len, key } => (offset, len, key),
                // Later segments have frames, so this was not the last append.
                SegmentItem::TornTail { offset, len } if id < self.last_used => (offset, len, None),
                SegmentItem::Preallocated { .. } if id < self.last_used => continue,
                SegmentItem::TornTail { offset, len }
                | SegmentItem::Preallocated { offset, len } => {
                    segment.file.truncate(offset.into())?;
                    outcome.truncated = len;
                    if matches!(item, SegmentItem::TornTail { .. }) {
                        self.report_torn_tail(id, len);
                    }
                    continue;
                }
            };
            let position = Position {
                segment: id,
                offset,
            };
            self.damage.push(Damage { position, len, key });
        }
        Ok(outcome)
    }

    fn report_torn_tail(&self, id: u32, bytes: u64) {
        add(&self.counters.torn_bytes, bytes);
        let path = self.disk.locate(&file_names::segment(id));
        let event = FileEvent::TornTail { path: &path, bytes };
        self.options.emit(&event);
    }

    /// Checks that no segment is missing between the first that is needed and the last.
    fn check_missing(&mut self) -> Result<(), FileError> {
        let Some((&last, _)) = self.segments.last_key_value() else {
            return Ok(());
        };
        let follows = u32::from(self.ended && last <= self.last_used);
        let first = self.replay.compacted.max(self.skipped).saturating_add(1);
        for id in first..=last.saturating_add(follows) {
            if self.segments.contains_key(&id) {
                continue;
            }
            let path = self.disk.locate(&file_names::segment(id));
            if !self.options.allow_data_loss {
                return Err(FileError::MissingSegment { path });
            }
            let event = FileEvent::SegmentSkipped { path: &path };
            self.options.emit(&event);
            self.skipped = id.min(last);
        }
        Ok(())
    }

    /// Reports all damage. Damage of data that was never durable is overwritten, so that the next
    /// opening does not take it for lost durable data.
    fn handle_damage(&mut self) -> Result<(), FileError> {
        for damage in take(&mut self.damage) {
            let path = self
                .disk
                .locate(&file_names::segment(damage.position.segment));
            add(&self.counters.damaged, 1);
            self.options.emit(&FileEvent::Damaged {
                path: &path,
                offset: damage.position.offset.into(),
                bytes: damage.len,
            });
            if !self.replay.handle_damage(&damage)
                && let Some(segment) = self.segments.get(&damage.position.segment)
            {
                let truncated = void_damage(segment, &damage);
                self.total_bytes -=
                    truncated.map_err(|error| FileError::io("repair", path, error))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RecoveredLog, FileError> {
        self.check_missing()?;
        self.handle_damage()?;
        // Files that are not needed: of compacted segments, and of interrupted creations.
        let mut stale_files: Vec<String> =
            self.hints.iter().map(|id| file_names::hint(*id)).collect();
        let names = self.disk.list().unwrap_or_default();
        let is_stale = |name: &String| {
            file_names::parse_segment(name).is_some_and(|id| !self.segments.contains_key(&id))
        };
        stale_files.extend(names.into_iter().filter(is_stale));
        let skipped = (self.skipped > self.replay.compacted).then_some(self.skipped);
        let expired = self.replay.drop_expired(self.options.clock.now());
        self.counters.expired = AtomicU64::new(expired);
        Ok(RecoveredLog {
            replay: self.replay,
            segments: self.segments,
            last_used: self.last_used,
            ended: self.ended,
            stale_files,
            skipped,
            counters: self.counters,
            total_bytes: self.total_bytes,
        })
    }
}

/// The result of reading one segment, in addition to the applied frames.
#[derive(Default)]
struct SegmentOutcome {
    /// The segment has an end frame, so another one follows.
    ended: bool,
    /// Number of bytes that were cut off at the end.
    truncated: u64,
}

/// Overwrites damage by a void frame. At the end of the file the damage is cut off instead; returns
/// the number of bytes that were cut off.
fn void_damage(segment: &Segment, damage: &Damage) -> io::Result<u64> {
    let begin = u64::from(damage.position.offset);
    if begin + damage.len >= segment.file.len()? {
        segment.file.truncate(begin)?;
        return Ok(damage.len);
    }
    let Some(payload_len) = damage.len.checked_sub(HEADER_LEN as u64) else {
        return Ok(0);
    };
    let mut payload = vec![0; usize::try_from(payload_len).unwrap_or(usize::MAX)];
    segment
        .file
        .read_at(&mut payload, begin + HEADER_LEN as u64)?;
    let header = FrameHeader::without_key(FrameKind::Void, 0).with_payload(&payload);
    segment.file.write_at(&header.encode(segment.salt), begin)?;
    Ok(0)
}

/// The result of reading all files.
struct RecoveredLog {
    replay: Replay,
    segments: BTreeMap<u32, Arc<Segment>>,
    last_used: u32,
    ended: bool,
    stale_files: Vec<String>,
    skipped: Option<u32>,
    counters: FileCounters,
    total_bytes: u64,
}

impl RecoveredLog {
    /// Opens the log at its end and removes the files that are not needed.
    fn open(mut self, disk: Box<dyn Disk>, options: Options) -> Result<FileEngine, FileError> {
        let (active, next) = self.end_of_log(disk.as_ref())?;
        let fail = |error| FileError::io("read", disk.path().to_path_buf(), error);
        let tail = active.file.len().map_err(fail)?;
        let usage = SpaceUsage {
            total: self.total_bytes,
            live: self.replay.index.live_bytes(),
        };
        let version = self.replay.version.saturating_add(VERSION_GAP);
        // The process that wrote the segments may not have synced them.
        let unsynced = self.segments.values().map(Arc::clone).collect();
        let writer = LogWriter::new(
            active,
            next,
            tail,
            unsynced,
            version,
            usage,
            self.replay.tags,
        );
        let log = AppendLog::new(disk, options, self.segments, writer, self.counters);
        log.begin(self.skipped)?;
        for name in &self.stale_files {
            let removed = log.disk().remove(name);
            removed.map_err(|error| FileError::io("remove", log.disk().locate(name), error))?;
        }
        let engine = FileEngine::new(log, self.replay.index);
        engine.index_encrypted_tags()?;
        Ok(engine)
    }

    /// Returns the segment to append to, and the empty one after it, if it exists.
    fn end_of_log(
        &mut self,
        disk: &dyn Disk,
    ) -> Result<(Arc<Segment>, Option<Arc<Segment>>), FileError> {
        let used = self.segments.get(&self.last_used).map(Arc::clone);
        let next_id = self.last_used.max(self.replay.compacted).saturating_add(1);
        let empty = self.segments.get(&next_id).map(Arc::clone);
        match (used, empty) {
            (Some(active), next) if !self.ended => Ok((active, next)),
            (_, Some(active)) => Ok((active, None)),
            (_, None) => {
                let created = Arc::new(Segment::create(disk, next_id)?);
                self.segments.insert(next_id, Arc::clone(&created));
                self.total_bytes += SEGMENT_HEAD_LEN as u64;
                Ok((created, None))
            }
        }
    }
}
