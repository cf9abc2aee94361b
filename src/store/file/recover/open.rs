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
    error::{FileError, is_full},
    event::FileEvent,
    finding::{Finding, FindingKind},
    format::{
        damaged_places::{self, DamagedPlace},
        file_names,
        frame::{FrameHeader, FrameKind, HEADER_LEN},
        segment_end::SegmentEnd,
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
    let verify = options.verify_on_open;
    let scan = LogScan::read(disk.as_ref(), first_key, verify, emit_progress)?;
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
    RecoveredLog::new(scan, lossy, &options, counters).open(disk, options, stale_files)
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

/// Fails if the key ring does not have the keys that the conversion of format version 1 needs, or if
/// unencrypted data is refused. In that version, tags are not encrypted.
fn check_conversion(scan: &LogScan<'_>, options: &Options) -> Result<(), FileError> {
    if !scan.is_old() {
        return Ok(());
    }
    if options.refuse_unencrypted {
        return Err(FileError::Unencrypted);
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
    /// The frames that record how damage was handled, with their payloads.
    recovery: Vec<(FrameHeader, Vec<u8>)>,
    /// Durable data is lost.
    lossy: bool,
    counters: FileCounters,
}

impl RecoveredLog {
    fn new(scan: LogScan<'_>, lossy: bool, options: &Options, counters: FileCounters) -> Self {
        let hints_used = scan
            .segments
            .values()
            .filter(|segment| segment.hint_len > 0);
        let hints_used = AtomicU64::new(hints_used.count() as u64);
        let discarded = scan.discarded;
        let mut log = Self {
            replay: scan.replay,
            segments: scan.segments,
            last_used: scan.last_used,
            recovery: Vec::new(),
            lossy,
            counters: FileCounters {
                hints_used,
                ..counters
            },
        };
        log.handle_damage(options.on_damage);
        if discarded > log.replay.compacted {
            let compacted = FrameHeader::without_key(FrameKind::Compacted, discarded.into());
            log.recovery.push((compacted, Vec::new()));
        }
        log
    }

    /// Handles the pending damage, and adds the frame that records it. One frame lists all damage, so a crash keeps
    /// all of the list or nothing.
    fn handle_damage(&mut self, on_damage: OnDamage) {
        let (mut places, mut uncertain, mut is_damaged) = (Vec::new(), Position::default(), false);
        let end_of_log = self.end_position();
        for (damage, durable) in self.replay.pending() {
            is_damaged = true;
            places.push(DamagedPlace {
                begin: damage.position.pack(),
                // New frames take the place of a lost end.
                end: damage.end.min(end_of_log).pack(),
                durable,
            });
            if durable && on_damage == OnDamage::DropUncertain {
                uncertain = uncertain.max(damage.end);
            }
        }
        if is_damaged {
            let mut places = damaged_places::join(places);
            damaged_places::limit(&mut places);
            let dropped = self.replay.handle_damage(&places, uncertain);
            add(&self.counters.dropped, dropped);
            let payload = damaged_places::encode(&places);
            let frame = FrameHeader::without_key(FrameKind::Recovered, uncertain.pack());
            self.recovery.push((frame.with_payload(&payload), payload));
        }
    }

    /// Returns the end of the frames in the segment to append to, or the beginning of a new segment.
    fn end_position(&self) -> Position {
        let segment = self.active_id();
        let active = self.segments.get(segment);
        let offset = active.map_or(0, |active| active.end);
        Position { segment, offset }
    }

    /// Takes the segments after the one that the log continues in, and returns their names.
    fn take_next_segments(&mut self) -> Vec<String> {
        let next = self.segments.split_off(self.active_id().saturating_add(1));
        let ids = next.iter().map(|(id, _)| *id);
        ids.map(file_names::segment).collect()
    }

    /// Opens the log at its end and removes the files that are not needed.
    fn open(
        mut self,
        disk: Box<dyn Disk>,
        options: Options,
        mut stale_files: Vec<String>,
    ) -> Result<FileEngine, FileError> {
        if self.lossy {
            stale_files.extend(self.take_next_segments());
        }
        let (newest, first_expiry) = (self.replay.time, self.replay.first_expiry);
        let (end, segments, total) = self.end_of_log(disk.as_ref())?;
        self.rewrite_unsynced(disk.as_ref(), &segments)?;
        let usage = SpaceUsage {
            total,
            live: self.replay.index.live_bytes(),
            segment: options.segment_bytes,
            ..SpaceUsage::default()
        };
        // An earlier opening may have found the loss, and not have recorded a version.
        let lacks_open_frame = self.replay.lacks_open_frame;
        let version_gap = if self.lossy || lacks_open_frame {
            VERSION_GAP_AFTER_LOSS
        } else {
            VERSION_GAP
        };
        let version = self.replay.version.saturating_add(version_gap);
        // The open frame says that a recovered frame was durable. The files that are removed below may be the only
        // other ones that show a damaged recovered frame.
        let is_recovered = |(header, _): &(FrameHeader, _)| header.kind == FrameKind::Recovered;
        let is_open_frame_required = self.recovery.iter().any(is_recovered) || lacks_open_frame;
        // The process that wrote the segments may not have synced them.
        let unsynced = segments.values().map(Arc::clone).collect();
        let writer = LogWriter::new(end, unsynced, version, usage, self.replay.tags);
        let log = AppendLog::new(disk, options, segments, writer, self.counters, newest);
        log.begin(&self.recovery, is_open_frame_required)?;
        // A new segment may have the name of a file that could not be read.
        let is_used = |name: &String| {
            file_names::parse_segment(name).is_some_and(|id| log.segment(id).is_some())
        };
        stale_files.retain(|name| !is_used(name));
        // These files may be the only ones that show a loss, so the log records the loss first.
        remove_stale(log.disk(), &stale_files)?;
        if self.lossy {
            // Otherwise they could return, and show a loss of what is written from now on.
            let synced = log.disk().sync_entries();
            let path = || log.disk().path().to_path_buf();
            synced.map_err(|error| FileError::io("sync", path(), error))?;
        }
        let engine = FileEngine::new(log, self.replay.index);
        if first_expiry <= engine.log.now() {
            for shard in 0..INDEX_SHARDS {
                engine.collect_expired(shard);
            }
        }
        convert_version_1(&engine)?;
        engine.unlist_refused();
        engine.index_encrypted_tags()?;
        Ok(engine)
    }

    /// Writes again what may not be on the disk.
    ///
    /// If an earlier process could not sync it, the system may have it in memory only and take it for written. A
    /// sync then succeeds, and the log would record that it is durable.
    fn rewrite_unsynced(
        &self,
        disk: &dyn Disk,
        segments: &SegmentMap<Arc<Segment>>,
    ) -> Result<(), FileError> {
        let durable = self.replay.durable;
        for segment in segments.values() {
            // A segment is synced before its hint is written. Those of version 1 are copied.
            let is_synced = segment.id < durable.segment || segment.is_hint_done();
            if is_synced || segment.format == LogFormat::V1 {
                continue;
            }
            let offset = match segment.id == durable.segment {
                true => durable.offset.into(),
                false => SEGMENT_HEAD_LEN as u64,
            };
            match segment.rewrite_from(offset) {
                // On a full disk, reads are possible.
                Err(error) if !is_full(&error) => {
                    let path = disk.locate(&file_names::segment(segment.id));
                    return Err(FileError::io("write again", path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the number of the segment to append to.
    fn active_id(&self) -> u32 {
        match self.segments.get(self.last_used) {
            Some(last) if last.is_open() => self.last_used,
            _ => {
                let old = self.segments.entries().iter().rev();
                let mut old = old.filter(|(_, segment)| segment.format == LogFormat::V1);
                let last = old.next().map_or(0, |(id, _)| *id);
                last.max(self.last_used).saturating_add(1)
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

    /// Returns the end of the recovery frames in a new segment, or the beginning of the log without a loss. The
    /// new segment may take the place of a lost one, so its head shows the loss until the log records it.
    fn end_of_recovery(&self, segment: u32, follows: bool) -> Position {
        if !self.lossy {
            return Position::default();
        }
        let start = usize::from(follows) * (HEADER_LEN + SegmentEnd::LEN);
        let frames = self.recovery.iter();
        let frames: u64 = frames.map(|(header, _)| header.frame_len()).sum();
        Position {
            segment,
            offset: (SEGMENT_HEAD_LEN + start) as u32 + frames as u32,
        }
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
                segment.set_hint_done(true);
            }
            segments.insert(id, Arc::new(segment));
        }
        let active = match segments.get(active_id) {
            Some(active) => Arc::clone(active),
            None => {
                total += SEGMENT_HEAD_LEN as u64;
                let durable = self.end_of_recovery(active_id, previous.is_some());
                Arc::new(Segment::create(disk, active_id, durable)?)
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
