//! Opening a store: handling damage, and continuing at the end of the log.

use std::{
    io,
    mem::take,
    sync::{Arc, atomic::AtomicU64},
};

use super::{replay::Replay, scan::LogScan, segment_files::ScannedSegment};
use crate::store::file::{
    compact::segment::Compactor,
    disk::Disk,
    encryption::RecordCipher,
    error::FileError,
    event::FileEvent,
    finding::{Finding, FindingKind},
    format::{
        file_names,
        frame::{FrameHeader, FrameKind},
        segment_head::{LogFormat, SEGMENT_HEAD_LEN},
    },
    log::{
        append_log::AppendLog,
        engine::FileEngine,
        index::{INDEX_SHARDS, IndexEntry, Position},
        log_writer::{LogEnd, LogWriter},
        segment::Segment,
        segment_map::SegmentMap,
        space::SpaceUsage,
    },
    options::{OnDamage, Options},
    stats::{FileCounters, add},
};

/// Distance between the greatest known version and the first new one. The versions in between may
/// belong to writes that a power failure took; no store writes that often between two openings.
const VERSION_GAP: u64 = 1 << 32;

/// The distance if durable data is lost, and with it possibly the open frames of many openings.
const VERSION_GAP_AFTER_LOSS: u64 = 1 << 42;

/// Opens the store on `disk`. A crash may interrupt every step; the next opening repeats it.
///
/// Nothing is changed if damage prevents the opening.
pub(crate) fn open(disk: Box<dyn Disk>, options: Options) -> Result<FileEngine, FileError> {
    let emit_progress = |done, total| options.emit(&FileEvent::Opening { done, total });
    let first_key = options.cipher.as_ref().map(RecordCipher::first_key);
    let replay = Replay::new(first_key);
    let scan = LogScan::read(disk.as_ref(), replay, options.verify_on_open, emit_progress)?;
    let findings = scan.findings();
    let loss = findings.iter().find(|finding| finding.is_loss());
    if let Some(loss) = loss.filter(|_| options.on_damage == OnDamage::Refuse) {
        return Err(FileError::Damaged {
            finding: Box::new(loss.clone()),
        });
    }
    check_conversion(&scan, &options)?;
    let lossy = loss.is_some();
    let counters = report(&findings, &options);
    let stale_files = scan.stale_files();
    let mut recovered = RecoveredLog::new(scan, lossy, &options, counters);
    if lossy {
        recovered.drop_next_segments(disk.as_ref())?;
        remove_stale(disk.as_ref(), &stale_files)?;
        let synced = disk.sync_entries();
        synced.map_err(|error| FileError::io("sync", disk.path().to_path_buf(), error))?;
    }
    recovered.open(disk, options, &stale_files)
}

/// Counts and reports the problems that no earlier opening has handled.
fn report(findings: &[Finding], options: &Options) -> FileCounters {
    let counters = FileCounters::default();
    for finding in findings.iter().filter(|finding| !finding.handled) {
        let (path, offset, bytes) = (&*finding.path, finding.offset, finding.bytes);
        options.emit(&match finding.kind {
            FindingKind::IncompleteAppend => {
                add(&counters.torn_bytes, bytes);
                FileEvent::TornTail { path, bytes }
            }
            FindingKind::Damage
            | FindingKind::LostEnd
            | FindingKind::UncertainEnd
            | FindingKind::Replaced => {
                add(&counters.damaged, 1);
                FileEvent::Damaged {
                    path,
                    offset,
                    bytes,
                }
            }
            FindingKind::UnreadableHead | FindingKind::Missing { .. } => {
                add(&counters.damaged, 1);
                FileEvent::SegmentSkipped { path }
            }
            FindingKind::WrongHint { .. } => FileEvent::HintIgnored { path },
        });
    }
    counters
}

fn remove_stale(disk: &dyn Disk, names: &[String]) -> Result<(), FileError> {
    for name in names {
        if let Err(error) = disk.remove(name)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(FileError::io("remove", disk.locate(name), error));
        }
    }
    Ok(())
}

/// Cuts off what is not a frame at the end of a segment.
fn truncate(disk: &dyn Disk, id: u32, segment: &mut ScannedSegment) -> Result<(), FileError> {
    let path = || disk.locate(&file_names::segment(id));
    let truncated = segment.file.truncate(segment.end.into());
    truncated.map_err(|error| FileError::io("truncate", path(), error))?;
    segment.len = segment.end.into();
    Ok(())
}

/// Fails if the key ring does not have the keys that the conversion of format version 1 needs.
fn check_conversion(scan: &LogScan<'_>, options: &Options) -> Result<(), FileError> {
    if !scan.is_old() {
        return Ok(());
    }
    let now = options.clock.now().max(scan.replay.time);
    let format = |id: u32| scan.segments.get(id).map(|segment| segment.format);
    let needs_key = |entry: &IndexEntry| {
        entry.tagged
            && entry.is_encrypted()
            && entry.expires > now
            && format(entry.position.segment) == Some(LogFormat::V1)
    };
    for (_, entry) in scan.replay.index.entries(needs_key) {
        let cipher = options.cipher.as_ref().ok_or(FileError::NoKeys)?;
        if let Some(key) = scan.replay.keys.key(entry.key_slot) {
            cipher.check_key(key)?;
        }
    }
    Ok(())
}

/// Compacts all segments of format version 1, and thereby converts their records. A crash may
/// interrupt it: an opening reads segments of both versions, those of version 1 first.
fn convert_version_1(engine: &FileEngine) -> Result<(), FileError> {
    let (compactor, old) = (Compactor(engine), engine.log.segments_of_version_1());
    // The tags of a record may be in any segment. None is deleted before all records were copied.
    for segment in &old {
        compactor.copy_segment(segment)?;
    }
    old.iter()
        .try_for_each(|_| compactor.compact_oldest(|_| true))
}

/// The result of a scan whose damage was handled.
struct RecoveredLog {
    replay: Replay,
    segments: SegmentMap<ScannedSegment>,
    last_used: u32,
    /// The frames that record how damage was handled.
    recovery: Vec<FrameHeader>,
    version_gap: u64,
    counters: FileCounters,
}

impl RecoveredLog {
    fn new(scan: LogScan<'_>, lossy: bool, options: &Options, counters: FileCounters) -> Self {
        let (mut skipped, mut uncertain) = (scan.discarded, Position::default());
        let (mut replay, mut damaged) = (scan.replay, false);
        for (damage, durable) in replay.pending() {
            damaged = true;
            if matches!(
                damage.kind,
                FindingKind::Missing { .. } | FindingKind::UnreadableHead
            ) {
                skipped = skipped.max(damage.end.segment.saturating_sub(1));
            }
            if durable && options.on_damage == OnDamage::DropUncertain {
                uncertain = uncertain.max(damage.end);
            }
        }
        let mut recovery = Vec::new();
        if skipped > replay.compacted {
            let number = skipped.into();
            recovery.push(FrameHeader::without_key(FrameKind::Compacted, number));
        }
        if damaged {
            let dropped = replay.handle_damage(uncertain);
            add(&counters.dropped, dropped);
            let number = uncertain.pack();
            recovery.push(FrameHeader::without_key(FrameKind::Recovered, number));
        }
        let mut counters = counters;
        let hints_used = scan
            .segments
            .values()
            .filter(|segment| segment.hint_len > 0);
        counters.hints_used = AtomicU64::new(hints_used.count() as u64);
        Self {
            replay,
            segments: scan.segments,
            last_used: scan.last_used,
            recovery,
            version_gap: if lossy {
                VERSION_GAP_AFTER_LOSS
            } else {
                VERSION_GAP
            },
            counters,
        }
    }

    /// Removes the segments after the one that the log continues in. Their heads may show that lost
    /// data was durable.
    fn drop_next_segments(&mut self, disk: &dyn Disk) -> Result<(), FileError> {
        let next = self.segments.split_off(self.active_id().saturating_add(1));
        let names: Vec<String> = next
            .iter()
            .map(|(id, _)| file_names::segment(*id))
            .collect();
        remove_stale(disk, &names)
    }

    /// Opens the log at its end and removes the files that are not needed.
    fn open(
        mut self,
        disk: Box<dyn Disk>,
        options: Options,
        stale_files: &[String],
    ) -> Result<FileEngine, FileError> {
        let newest = self.replay.time;
        let (end, segments, total) = self.end_of_log(disk.as_ref())?;
        let usage = SpaceUsage {
            total,
            live: self.replay.index.live_bytes(),
            segment: options.segment_bytes,
            ..SpaceUsage::default()
        };
        let version = self.replay.version.saturating_add(self.version_gap);
        // The process that wrote the segments may not have synced them.
        let unsynced = segments.values().map(Arc::clone).collect();
        let writer = LogWriter::new(end, unsynced, version, usage, self.replay.tags);
        let log = AppendLog::new(disk, options, segments, writer, self.counters, newest);
        log.begin(&self.recovery)?;
        // A new segment may have the name of a file that could not be read.
        let is_used = |name: &String| {
            file_names::parse_segment(name).is_some_and(|id| log.segment(id).is_some())
        };
        let stale_files: Vec<String> = stale_files
            .iter()
            .filter(|name| !is_used(name))
            .cloned()
            .collect();
        remove_stale(log.disk(), &stale_files)?;
        let engine = FileEngine::new(log, self.replay.index);
        for shard in 0..INDEX_SHARDS {
            engine.collect_expired(shard);
        }
        convert_version_1(&engine)?;
        engine.index_encrypted_tags()?;
        Ok(engine)
    }

    /// Returns the number of the segment to append to.
    fn active_id(&self) -> u32 {
        match self.segments.get(self.last_used) {
            Some(last) if last.is_open() => self.last_used,
            _ => {
                let old = self.segments.entries().iter().rev();
                let mut old = old.filter(|(_, segment)| segment.format == LogFormat::V1);
                let last = old.next().map_or(0, |(id, _)| *id);
                let last = last.max(self.last_used).max(self.replay.compacted);
                last.saturating_add(1)
            }
        }
    }

    /// Cuts off what is not a frame at the end of the last segments of version 1, since no frame is
    /// appended to them.
    fn end_version_1(&mut self, disk: &dyn Disk) -> Result<(), FileError> {
        for (id, last) in self.segments.entries_from(self.last_used) {
            if last.format == LogFormat::V1 && last.len > last.end.into() {
                truncate(disk, *id, last)?;
            }
        }
        Ok(())
    }

    /// Cuts off what is not a frame at the end of the log, and opens the segments. Returns the end of
    /// the log, all segments, and the length of all files.
    fn end_of_log(
        &mut self,
        disk: &dyn Disk,
    ) -> Result<(LogEnd, SegmentMap<Arc<Segment>>, u64), FileError> {
        self.end_version_1(disk)?;
        let active_id = self.active_id();
        let previous = active_id.saturating_sub(1);
        let previous = self
            .segments
            .get(previous)
            .map(|segment| segment.segment_end(previous));
        let (mut tail, mut checksum) = (SEGMENT_HEAD_LEN as u64, 0);
        if let Some(active) = self.segments.get_mut(active_id) {
            (tail, checksum) = (active.end.into(), active.checksum);
            if active.len > tail {
                truncate(disk, active_id, active)?;
            }
            // The next append makes a hint of the active segment out of date.
            active.hint_len = 0;
        }
        let (mut segments, mut total) = (SegmentMap::new(), 0);
        for (id, scanned) in take(&mut self.segments) {
            total += scanned.len + scanned.hint_len;
            let segment = Segment::new(id, scanned.salt, scanned.format, scanned.file);
            segment.set_end(scanned.end);
            if scanned.hint_len > 0 {
                segment.set_hint_len(scanned.hint_len);
                segment.mark_hint_done();
            }
            segments.insert(id, Arc::new(segment));
        }
        let active = match segments.get(active_id) {
            Some(active) => Arc::clone(active),
            None => {
                total += SEGMENT_HEAD_LEN as u64;
                Arc::new(Segment::create(disk, active_id, Position::default())?)
            }
        };
        segments.insert(active_id, Arc::clone(&active));
        let end = LogEnd {
            active,
            next: segments.get(active_id.saturating_add(1)).map(Arc::clone),
            tail,
            checksum,
            previous,
        };
        Ok((end, segments, total))
    }
}
