//! The scan of a directory: the only implementation of the rules for reading a log.
//!
//! It changes nothing. An opening acts on its result, and an inspection reports it.

use super::{
    damage::{Damage, JudgedDamage, span},
    replay::Replay,
    report::{SegmentReport, hint_matches},
    segment_files::{ScannedSegment, decode_head, oldest_format, open_segments},
};
use crate::{
    seal::KeyId,
    store::file::{
        disk::{self, Disk, DiskFile},
        error::FileError,
        finding::{Finding, FindingKind},
        format::{
            file_names,
            frame::{FrameHeader, FrameKind},
            frames::{Frames, SegmentItem},
            hint::{self, Hint},
            segment_end::SegmentEnd,
            segment_head::{HeadFields, LogFormat, SEGMENT_HEAD_LEN, SegmentHead},
            version_1,
        },
        log::{index::Position, segment_map::SegmentMap},
    },
};

/// The end of the segment that was read last.
struct PreviousSegment {
    end: SegmentEnd,
    /// The segment has damage, so its checksum differs.
    damaged: bool,
    /// The segment has no end frame, although segments of its format version have one.
    lacks_end: bool,
}

/// The result of a scan.
pub(super) struct LogScan<'a> {
    disk: &'a dyn Disk,
    /// Read all segments, and compare the hints with them.
    verify: bool,
    /// Segments to read in any case, sorted.
    unhinted: Vec<u32>,
    /// The numbers of the hint files, sorted.
    hints: Vec<u32>,
    pub(super) replay: Replay,
    pub(super) segments: SegmentMap<ScannedSegment>,
    /// One report for each segment file; complete only if the scan verifies.
    pub(super) reports: Vec<SegmentReport>,
    /// The last segment with frames.
    pub(super) last_used: u32,
    /// The format of the oldest segment with an intact head.
    oldest_format: LogFormat,
    /// Problems other than damage.
    findings: Vec<Finding>,
    first: Option<u32>,
    newest: u32,
    previous: Option<PreviousSegment>,
    /// The greatest number of a segment that its head marks as compacted.
    pub(super) discarded: u32,
}

impl<'a> LogScan<'a> {
    /// Reads the directory. With `verify` it reads all segments, otherwise hints instead of segments. `first_key` is the
    /// key that encrypts new records.
    ///
    /// Calls `progress` after each segment with the number of bytes that were read, and the total.
    pub(super) fn read(
        disk: &'a dyn Disk,
        first_key: Option<KeyId>,
        verify: bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self, FileError> {
        let replay = Replay::new(first_key, false);
        let scan = Self::read_files(disk, replay, verify, Vec::new(), &mut progress)?;
        // After an interrupted recovery, a hint may hide the damage. It must be handled in the same way again.
        let unhinted = scan.unmatched_segments();
        if unhinted.is_empty() && !scan.replay.lacks_confirmations() {
            return Ok(scan);
        }
        drop(scan);
        let replay = Replay::new(first_key, true);
        Self::read_files(disk, replay, verify, unhinted, &mut progress)
    }

    fn read_files(
        disk: &'a dyn Disk,
        replay: Replay,
        verify: bool,
        unhinted: Vec<u32>,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Self, FileError> {
        let fail = |error| FileError::io("list", disk.path().to_path_buf(), error);
        let names = disk.list().map_err(fail)?;
        let files = open_segments(disk, &names)?;
        let hints = names.iter().filter_map(|name| file_names::parse_hint(name));
        let mut hints: Vec<u32> = hints.collect();
        hints.sort_unstable();
        let used = files
            .iter()
            .filter(|(_, _, len)| *len > SEGMENT_HEAD_LEN as u64);
        let mut scan = Self {
            disk,
            verify,
            unhinted,
            hints,
            replay,
            segments: SegmentMap::new(),
            reports: Vec::new(),
            last_used: used.map(|(id, ..)| *id).next_back().unwrap_or(0),
            oldest_format: oldest_format(&files),
            findings: Vec::new(),
            first: files.first().map(|(id, ..)| *id),
            newest: 0,
            previous: None,
            discarded: 0,
        };
        let is_missing = |id: &&u32| files.binary_search_by_key(*id, |(id, ..)| *id).is_err();
        let mut without_segment = scan.hints.iter().filter(is_missing);
        without_segment.try_for_each(|id| scan.read_hint(*id).map(drop))?;
        let (mut done, total) = (0, files.iter().map(|(_, _, len)| len).sum());
        for (id, file, len) in files {
            done += len;
            scan.read_segment(id, file, len)?;
            progress(done, total);
        }
        scan.replay.index_version_1_tags();
        scan.check_ends();
        scan.replay.finish();
        Ok(scan)
    }

    /// Returns the segments that were read from hints although an earlier opening found damage in them.
    fn unmatched_segments(&self) -> Vec<u32> {
        let ranges = self.replay.unmatched_segments();
        let is_hidden = |(id, segment): &&(u32, ScannedSegment)| {
            segment.hint_len > 0 && ranges.iter().any(|range| range.contains(id))
        };
        let hidden = self.segments.entries().iter().filter(is_hidden);
        hidden.map(|(id, _)| *id).collect()
    }

    /// Returns `true` if the log begins with segments of format version 1.
    pub(super) fn is_old(&self) -> bool {
        self.oldest_format == LogFormat::V1
    }

    /// Returns all problems, in the order of the log.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        let handled = self
            .replay
            .handled
            .iter()
            .map(|damage| self.finding(damage, true));
        findings.extend(handled);
        let pending = self.replay.pending();
        findings.extend(pending.map(|damage| self.finding(&damage, false)));
        findings.sort_by(|one, other| (&one.path, one.offset).cmp(&(&other.path, other.offset)));
        findings
    }

    fn finding(&self, (damage, durable): &JudgedDamage, handled: bool) -> Finding {
        let Position { segment, offset } = damage.position;
        let bytes = match damage.kind {
            FindingKind::Damage | FindingKind::LostEnd if damage.end.segment == segment => {
                damage.end.offset.saturating_sub(offset)
            }
            _ => 0,
        };
        Finding {
            path: self.disk.locate(&file_names::segment(segment)),
            offset: offset.into(),
            bytes: bytes.into(),
            kind: damage.kind,
            durable: *durable,
            handled,
        }
    }

    /// Returns the names of files that the log does not need: of discarded segments, of interrupted
    /// creations, and hints that were not used.
    pub(super) fn stale_files(&self) -> Vec<String> {
        // A hint of the segment that the log continues in is soon out of date.
        let is_used = |id: &u32| {
            let segment = self.segments.get(*id);
            segment.is_some_and(|s| s.hint_len > 0 && (s.ended || *id < self.last_used))
        };
        let hints = self.hints.iter().filter(|id| !is_used(id));
        let mut stale: Vec<String> = hints.map(|id| file_names::hint(*id)).collect();
        let names = self.disk.list().unwrap_or_default();
        stale.extend(names.into_iter().filter(|name| {
            file_names::parse_segment(name).is_some_and(|id| self.segments.get(id).is_none())
        }));
        stale
    }

    fn read_segment(
        &mut self,
        id: u32,
        file: Box<dyn DiskFile>,
        len: u64,
    ) -> Result<(), FileError> {
        self.check_gap(id);
        let path = self.disk.locate(&file_names::segment(id));
        let fail = |error| FileError::io("read", path.clone(), error);
        let mut report = SegmentReport {
            path: path.clone(),
            bytes: len,
            ..SegmentReport::default()
        };
        let Some(head) = self.read_head(id, file.as_ref(), &mut report)? else {
            self.previous = None;
            self.reports.push(report);
            return Ok(());
        };
        let mut segment = ScannedSegment::new(file, len, head);
        let hint_bytes = self.read_hint(id)?;
        let hint = hint_bytes
            .as_deref()
            .and_then(|hint| hint::decode(hint, id, head.salt));
        let current = hint
            .as_ref()
            .filter(|hint| hint.complete && segment.matches_hint(hint));
        let must_read = self.verify || self.unhinted.binary_search(&id).is_ok();
        if let Some(hint) = current.filter(|_| !must_read) {
            self.apply_hint(id, &mut segment, hint);
            segment.hint_len = hint_bytes.as_ref().map_or(0, |hint| hint.len() as u64);
        } else {
            let bytes = disk::read_all(segment.file.as_ref()).map_err(fail)?;
            self.apply_frames(id, &mut segment, &bytes, &mut report);
            match segment.format {
                LogFormat::V1 => self.check_version_1_hint(id, &segment, hint_bytes.as_deref()),
                LogFormat::V2 => {
                    self.check_hint(id, &bytes, &segment, hint_bytes.as_deref(), &mut report);
                }
            }
            // Also a hint that is out of date shows how far the segment was durable.
            if let Some(hint) = &hint {
                self.replay.add_durable(id, hint.synced());
            }
        }
        self.previous = Some(PreviousSegment {
            end: segment.segment_end(id),
            damaged: report.damaged > 0,
            lacks_end: segment.format == LogFormat::V2 && !segment.ended,
        });
        self.reports.push(report);
        self.segments.insert(id, segment);
        Ok(())
    }

    /// Reads the head of a segment. Returns `None` if its frames cannot be read, or are not needed.
    fn read_head(
        &mut self,
        id: u32,
        file: &dyn DiskFile,
        report: &mut SegmentReport,
    ) -> Result<Option<HeadFields>, FileError> {
        let head = decode_head(id, file);
        let head = head.map_err(|error| FileError::io("read", report.path.clone(), error))?;
        let head = match head {
            SegmentHead::Intact(head) if !self.is_foreign(&head) => head,
            // In version 1, a compaction without space for its frame has truncated the segment.
            SegmentHead::Damaged if report.bytes == 0 && id < self.last_used && self.is_old() => {
                self.discarded = id;
                return Ok(None);
            }
            SegmentHead::OtherVersion(found) => {
                let path = report.path.clone();
                return Err(FileError::unsupported_format(path, found));
            }
            SegmentHead::Intact(_) | SegmentHead::Damaged => {
                self.handle_unreadable(id);
                return Ok(None);
            }
        };
        if head.format == LogFormat::V2 {
            self.replay.index_version_1_tags();
        }
        report.readable = true;
        report.format = head.format.version();
        let durable = Position::unpack(head.durable);
        self.replay.add_durable(durable.segment, durable.offset);
        if head.compacted {
            self.discarded = id;
        }
        Ok((!head.compacted).then_some(head))
    }

    /// Returns `true` if a segment is not part of the log: no segment of version 1 follows one of
    /// version 2.
    fn is_foreign(&self, head: &HeadFields) -> bool {
        let last = self.segments.entries().last();
        head.format == LogFormat::V1 && last.is_some_and(|(_, last)| last.format == LogFormat::V2)
    }

    /// Checks that no segment is missing between the previous one and `id`.
    fn check_gap(&mut self, id: u32) {
        if self.newest > 0 {
            self.add_missing(self.newest.saturating_add(1), id);
        }
        self.newest = id;
    }

    /// Adds damage for the missing segments from `first` up to `end`, which is not missing.
    fn add_missing(&mut self, first: u32, end: u32) {
        let segments = end.saturating_sub(first);
        if segments > 0 {
            self.previous = None;
            self.add_loss(FindingKind::Missing { segments }, first, end);
        }
    }

    /// Adds damage of the whole segments from `first` up to `end`.
    fn add_loss(&mut self, kind: FindingKind, first: u32, end: u32) {
        self.replay
            .add_damage(Damage::of_segments(kind, first, end));
    }

    /// Returns `true` if the first segments up to `end` are missing, from `first` on, and no earlier opening has
    /// handled that.
    fn is_front_lost(&mut self, first: u32, end: u32) -> bool {
        let segments = end.saturating_sub(first);
        let missing = Damage::of_segments(FindingKind::Missing { segments }, first, end);
        segments > 0 && self.replay.add_front_damage(missing)
    }

    /// Handles a damaged head. Head and directory entry of a segment are durable before the segment
    /// before it ends.
    fn handle_unreadable(&mut self, id: u32) {
        let follows = self
            .segments
            .get(id.saturating_sub(1))
            .is_some_and(|segment| segment.ended);
        // Otherwise a crash interrupted the creation of this segment.
        if id <= self.last_used || follows {
            self.add_loss(FindingKind::UnreadableHead, id, id.saturating_add(1));
        }
    }

    fn read_hint(&self, id: u32) -> Result<Option<Vec<u8>>, FileError> {
        if self.hints.binary_search(&id).is_err() {
            return Ok(None);
        }
        let name = file_names::hint(id);
        let file = self.disk.open(&name);
        let bytes = file.and_then(|file| disk::read_all(file.as_ref()));
        match bytes.map_err(|error| FileError::io("read", self.disk.locate(&name), error)) {
            // A hint is optional. A verification reports that it cannot be read.
            Err(FileError::Io { .. }) if !self.verify => Ok(None),
            bytes => bytes.map(Some),
        }
    }

    /// Applies a hint in place of the segment's frames.
    fn apply_hint(&mut self, id: u32, segment: &mut ScannedSegment, hint: &Hint<'_>) {
        (segment.end, segment.checksum) = (hint.end, hint.checksum);
        for entry in hint.entries() {
            segment.ended |= entry.header.kind == FrameKind::End;
            let position = Position {
                segment: id,
                offset: entry.offset,
            };
            self.apply_frame(position, &entry.header, entry.payload);
        }
    }

    fn apply_frame(&mut self, position: Position, header: &FrameHeader, payload: &[u8]) {
        if header.kind == FrameKind::Start
            && let Some(end) = SegmentEnd::decode(payload)
        {
            self.check_previous(&end);
        }
        self.replay.apply(position, header, payload);
    }

    /// Compares the previous segment with its end in the first frame of this one.
    fn check_previous(&mut self, expected: &SegmentEnd) {
        let Some(previous) = &self.previous else {
            return;
        };
        let found = &previous.end;
        if found.id != expected.id {
            return;
        }
        let differs = found.offset > expected.offset
            || (found.offset == expected.offset
                && found.checksum != expected.checksum
                && !previous.damaged);
        if found.salt != expected.salt || differs {
            self.add_loss(
                FindingKind::Replaced,
                expected.id,
                expected.id.saturating_add(1),
            );
        } else if found.offset < expected.offset {
            let lost = expected.offset - found.offset;
            let (position, end) = span(found.id, found.offset, lost.into());
            self.extend_lost_end(position, end);
        }
        self.replay.add_durable(expected.id, expected.durable);
    }

    /// Checks that the segment before segment `id` has an end frame. The damaged start frame of `id` cannot show
    /// where that segment ended.
    fn check_previous_end(&mut self, id: u32) {
        if let Some(PreviousSegment { end, lacks_end, .. }) = &self.previous
            && *lacks_end
        {
            let (position, _) = span(end.id, end.offset, 0);
            let (end, _) = span(id, 0, 0);
            self.extend_lost_end(position, end);
        }
    }

    /// Adds a lost end. If the segment does not end in a frame, the scan has found the beginning of the lost end.
    fn extend_lost_end(&mut self, position: Position, end: Position) {
        if !self.replay.extend_damage(position, end) {
            self.add_lost_end(position, end);
        }
    }

    fn add_lost_end(&mut self, position: Position, end: Position) {
        self.replay.add_damage(Damage {
            kind: FindingKind::LostEnd,
            position,
            end,
            key: None,
            certain: false,
        });
    }

    /// Reads the whole segment and applies its frames.
    fn apply_frames(
        &mut self,
        id: u32,
        segment: &mut ScannedSegment,
        bytes: &[u8],
        report: &mut SegmentReport,
    ) {
        let mut frames = Frames::new(bytes, segment.salt, segment.format);
        for item in &mut frames {
            report.count(&item);
            match item {
                SegmentItem::Frame {
                    offset,
                    header,
                    payload,
                } => {
                    segment.ended |= header.kind == FrameKind::End;
                    let position = Position {
                        segment: id,
                        offset,
                    };
                    match segment.format {
                        LogFormat::V1 => self.replay.apply_version_1(position, &header, payload),
                        LogFormat::V2 => self.apply_frame(position, &header, payload),
                    }
                }
                SegmentItem::Damage { offset, len, key } => {
                    if offset == SEGMENT_HEAD_LEN as u32 {
                        self.check_previous_end(id);
                    }
                    let (position, end) = span(id, offset, len);
                    self.replay.add_damage(Damage {
                        kind: FindingKind::Damage,
                        position,
                        end,
                        key,
                        certain: false,
                    });
                }
                // At the end of the log, this is not damage.
                SegmentItem::TornTail { offset, len } if id >= self.last_used => {
                    self.findings.push(Finding {
                        path: report.path.clone(),
                        offset: offset.into(),
                        bytes: len,
                        kind: FindingKind::IncompleteAppend,
                        durable: false,
                        handled: false,
                    });
                }
                SegmentItem::TornTail { offset, len } => {
                    let (position, end) = span(id, offset, len);
                    self.add_lost_end(position, end);
                }
                SegmentItem::Preallocated { .. } => {}
            }
        }
        (segment.end, segment.checksum) = (frames.end(), frames.checksum());
    }

    /// Compares a hint with the segment's frames, if the scan verifies. Otherwise reports a hint that
    /// cannot be used.
    fn check_hint(
        &mut self,
        id: u32,
        bytes: &[u8],
        segment: &ScannedSegment,
        hint: Option<&[u8]>,
        report: &mut SegmentReport,
    ) {
        let Some(hint) = hint else {
            return;
        };
        let decoded = hint::decode(hint, id, segment.salt);
        let current = decoded.is_some_and(|hint| segment.matches_hint(&hint));
        let matches = current && (!self.verify || hint_matches(bytes, id, segment.salt, hint));
        report.hint_matches = Some(matches);
        // No hint matches a damaged segment, which has findings of its own.
        if !matches && report.damaged == 0 && report.torn_bytes == 0 {
            self.findings.push(Finding {
                path: self.disk.locate(&file_names::hint(id)),
                offset: 0,
                bytes: hint.len() as u64,
                kind: FindingKind::WrongHint { used: current },
                durable: current,
                handled: false,
            });
        }
    }

    /// Checks that a segment of version 1 is as long as when its hint was written. It was synced then.
    fn check_version_1_hint(&mut self, id: u32, segment: &ScannedSegment, hint: Option<&[u8]>) {
        let Some(len) = hint.and_then(|hint| version_1::hint_segment_len(hint, id, segment.salt))
        else {
            return;
        };
        self.replay
            .add_durable(id, u32::try_from(len).unwrap_or(u32::MAX));
        let lost = len.saturating_sub(segment.len);
        // The check of the log's end covers the last segment.
        if lost > 0 && id < self.last_used {
            let (position, end) = span(id, segment.len as u32, lost);
            self.add_lost_end(position, end);
        }
    }

    /// Checks that no segment is missing after the newest one: neither `expected`, nor one that has a
    /// hint file, unless a compaction has deleted it.
    fn check_last(&mut self, expected: u32, compacted: u32) {
        let mut hints = self.hints.iter().copied().filter(|id| *id > compacted);
        let oldest = hints.next().unwrap_or(0);
        let last = hints.next_back().unwrap_or(oldest).max(expected);
        let first = if self.newest > 0 {
            self.newest.saturating_add(1)
        } else {
            oldest.max(1)
        };
        self.add_missing(first, last.saturating_add(1));
    }

    /// Checks both ends of the log.
    fn check_ends(&mut self) {
        let compacted = self.replay.compacted.max(self.discarded);
        let after_compacted = compacted.saturating_add(1);
        let first_is_missing = match self.first {
            Some(first) => self.is_front_lost(after_compacted, first),
            None => false,
        };
        let next = self.last_used.saturating_add(1);
        let last = self.segments.get(self.last_used);
        let ended = last.is_some_and(|last| last.ended);
        let follows = ended && self.newest == self.last_used;
        self.check_last(if follows { next } else { 0 }, compacted);
        // Missing segments have damage of their own, so the log ends after them.
        let next = self
            .segments
            .entries_from(next)
            .first()
            .map_or(next, |(id, _)| *id);
        let (segment, offset) = match self.segments.get(self.last_used) {
            Some(last) if !ended => (self.last_used, last.end),
            _ => (next, SEGMENT_HEAD_LEN as u32),
        };
        let end = Position { segment, offset };
        let kind = if self.replay.durable > end {
            FindingKind::LostEnd
        } else if first_is_missing {
            // A compacted frame may be lost. Each frame before it may then have been replaced later.
            FindingKind::UncertainEnd
        } else {
            return;
        };
        self.findings
            .retain(|finding| finding.kind != FindingKind::IncompleteAppend);
        self.replay.add_damage(Damage {
            kind,
            position: end,
            end: end.max(self.replay.durable),
            key: None,
            certain: kind == FindingKind::UncertainEnd,
        });
    }
}
