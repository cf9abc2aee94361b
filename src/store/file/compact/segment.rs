//! Compaction of one segment. Its live frames are copied to the end of the log, then it is deleted.
//!
//! The source is always the oldest segment. Frames before a dead frame are therefore gone already:
//! dropping an expired tombstone cannot bring an older record back. A touch frame is never copied,
//! because the copy of its record has the new expiry. The first key of the key ring encrypts the copy of
//! a record that another key encrypted.

use std::{
    borrow::Cow,
    io,
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::file::{
        error::{FileError, is_full},
        event::FileEvent,
        format::{
            file_names,
            frame::{FrameHeader, FrameKind, HEADER_LEN},
            frames::{Frames, SegmentItem},
            payload,
            segment_head::{LogFormat, SEGMENT_HEAD_LEN},
        },
        log::{
            engine::FileEngine,
            index::{FIRST_KEY, INDEX_SHARDS, IndexEntry, Position},
            log_writer::LogWriter,
            segment::Segment,
        },
        stats::add,
    },
};

/// Copies are appended in chunks of about this many bytes, so that writers wait only for that long.
const CHUNK_BYTES: usize = 32 << 10;

/// A frame that was live when it was read.
struct Candidate<'a> {
    position: Position,
    copy: FrameCopy<'a>,
}

/// A frame to append.
struct FrameCopy<'a> {
    header: FrameHeader,
    payload: Cow<'a, [u8]>,
    /// The slot of the key that encrypted the payload.
    key_slot: u8,
}

/// The records of a segment that the first key could not encrypt.
#[derive(Default)]
struct ReencryptionFailures {
    records: u64,
    first: Option<FileError>,
}

impl ReencryptionFailures {
    fn add(&mut self, error: FileError) {
        self.records += 1;
        self.first.get_or_insert(error);
    }
}

/// The compaction of an engine's segments.
pub(crate) struct Compactor<'a>(pub(crate) &'a FileEngine);

impl Compactor<'_> {
    /// Returns `true` if there is enough garbage and the log accepts appends.
    pub(crate) fn is_needed(&self) -> bool {
        let log = &self.0.log;
        let usage = log.lock().usage();
        usage.needs_compaction() && log.check_poison().is_ok()
    }

    /// Compacts the oldest segment.
    ///
    /// Calls `throttle` with the number of bytes that were read, after every chunk. If it returns
    /// `false`, the compaction stops; it can be started again.
    pub(crate) fn compact_oldest(
        &self,
        mut throttle: impl FnMut(u64) -> bool,
    ) -> Result<(), FileError> {
        let log = &self.0.log;
        let began = Instant::now();
        let Some(source) = self.next_source()? else {
            return Ok(());
        };
        let bytes = source.read_all(log.disk())?;
        let Some(kept) = self.copy_live(&source, &bytes, &mut throttle)? else {
            return Ok(());
        };
        self.delete_segment(&source, bytes.len() as u64)?;
        let path = log.disk().locate(&file_names::segment(source.id));
        add(&log.counters().compacted_segments, 1);
        add(&log.counters().compacted_kept_bytes, kept);
        add(&log.counters().compacted_bytes, bytes.len() as u64);
        log.options().emit(&FileEvent::Compacted {
            path: &path,
            kept,
            bytes: bytes.len() as u64,
            took: began.elapsed(),
        });
        Ok(())
    }

    /// Copies the live frames of a segment, and keeps the segment.
    pub(crate) fn copy_segment(&self, source: &Segment) -> Result<(), FileError> {
        let bytes = source.read_all(self.0.log.disk())?;
        self.copy_live(source, &bytes, &mut |_| true).map(drop)
    }

    /// Compacts all segments that have frames now. Calls `after_segment` after each.
    pub(crate) fn compact_all(
        &self,
        mut throttle: impl FnMut(u64) -> bool,
        mut after_segment: impl FnMut(),
    ) -> Result<(), FileError> {
        let log = &self.0.log;
        let end = {
            let mut writer = log.lock_writable()?;
            if !writer.is_active_empty() {
                log.roll(&mut writer)?;
            }
            writer.active().id
        };
        while log.oldest_segment().is_some_and(|oldest| oldest.id < end) {
            self.compact_oldest(&mut throttle)?;
            after_segment();
        }
        Ok(())
    }

    /// Returns the oldest segment. If it is the active segment, ends it first. Returns `None` for an
    /// empty active segment.
    fn next_source(&self) -> Result<Option<Arc<Segment>>, FileError> {
        let log = &self.0.log;
        let mut writer = log.lock_writable()?;
        let Some(oldest) = log.oldest_segment() else {
            return Ok(None);
        };
        if oldest.id == writer.active().id {
            if writer.is_active_empty() {
                return Ok(None);
            }
            log.roll(&mut writer)?;
        }
        Ok(Some(oldest))
    }

    /// Copies the live frames. Returns the number of copied bytes, or `None` if it was stopped.
    fn copy_live(
        &self,
        source: &Segment,
        bytes: &[u8],
        throttle: &mut impl FnMut(u64) -> bool,
    ) -> Result<Option<u64>, FileError> {
        let segment_bytes = self.0.log.options().segment_bytes;
        let chunk_bytes = CHUNK_BYTES.min(segment_bytes as usize / 16);
        let (mut kept, mut read, mut ready) = (0, 0, 0);
        let (mut candidates, mut failures) = (Vec::new(), ReencryptionFailures::default());
        let mut frames = Frames::new(bytes, source.salt, source.format);
        for item in &mut frames {
            let (header, offset, payload) = match item {
                SegmentItem::Frame {
                    offset,
                    header,
                    payload,
                } => (header, offset, payload),
                SegmentItem::Damage { offset, len, .. } => {
                    self.drop_damaged(source.id, offset, len);
                    continue;
                }
                SegmentItem::TornTail { .. } | SegmentItem::Preallocated { .. } => continue,
            };
            let position = Position {
                segment: source.id,
                offset,
            };
            read += header.frame_len();
            if let Some(entry) = self.current_entry(&header, position) {
                ready += HEADER_LEN + payload.len();
                let copy = self.copy_frame(header, payload, entry, &mut failures);
                candidates.push(Candidate { position, copy });
            }
            if ready >= chunk_bytes || read >= 8 * CHUNK_BYTES as u64 {
                kept += self.copy_chunk(&mut candidates, source.format)?;
                ready = 0;
                if !throttle(take(&mut read)) {
                    return Ok(None);
                }
            }
        }
        // The end was cut off or overwritten while the store is open.
        let lost = source.end().saturating_sub(frames.end());
        if lost > 0 {
            self.drop_damaged(source.id, frames.end(), lost.into());
        }
        kept += self.copy_chunk(&mut candidates, source.format)?;
        throttle(read);
        self.report(source, &failures);
        Ok(Some(kept))
    }

    fn report(&self, source: &Segment, failures: &ReencryptionFailures) {
        let log = &self.0.log;
        if let Some(error) = &failures.first {
            log.options().emit(&FileEvent::ReencryptionFailed {
                path: &log.disk().locate(&file_names::segment(source.id)),
                records: failures.records,
                error,
            });
        }
    }

    /// Returns the copy of a frame. The first key encrypts it if another key of the ring did, so that
    /// the other key can be removed from the ring. If that fails, the payload stays as it is.
    fn copy_frame<'a>(
        &self,
        header: FrameHeader,
        payload: &'a [u8],
        entry: IndexEntry,
        failures: &mut ReencryptionFailures,
    ) -> FrameCopy<'a> {
        let cipher = self.0.log.options().cipher.as_ref();
        let cipher = cipher.filter(|_| entry.needs_other_key());
        match cipher.map(|cipher| cipher.seal_again(&header.key, payload)) {
            Some(Ok(payload)) => {
                return FrameCopy {
                    header: header.with_payload(&payload),
                    payload: Cow::Owned(payload.into()),
                    key_slot: FIRST_KEY,
                };
            }
            Some(Err(error)) => failures.add(error),
            None => {}
        }
        FrameCopy {
            header,
            payload: Cow::Borrowed(payload),
            key_slot: entry.key_slot,
        }
    }

    /// Drops the index entries that point into damage, and reports it if there are any.
    fn drop_damaged(&self, segment: u32, offset: u32, len: u64) {
        let mut writer = self.0.log.lock();
        let range = u64::from(offset)..u64::from(offset) + len;
        let is_inside = |_: &StoreKey, entry: &IndexEntry| {
            let offset = u64::from(entry.position.offset);
            entry.position.segment == segment && range.contains(&offset)
        };
        let mut lost = 0;
        for shard in 0..INDEX_SHARDS {
            lost += self.0.index_drain(&mut writer, shard, is_inside);
        }
        drop(writer);
        if lost > 0 {
            self.0.log.report_damage(segment, offset.into(), len);
        }
    }

    /// Returns the index entry that points to this frame.
    fn current_entry(&self, header: &FrameHeader, position: Position) -> Option<IndexEntry> {
        let entry = match header.kind {
            FrameKind::Write | FrameKind::Destroy => self.0.index.get(&header.key),
            _ => None,
        };
        entry.filter(|entry| entry.position == position)
    }

    /// Appends copies of the candidates that are still live. Returns the number of copied bytes.
    fn copy_chunk(
        &self,
        candidates: &mut Vec<Candidate<'_>>,
        format: LogFormat,
    ) -> Result<u64, FileError> {
        let log = &self.0.log;
        let mut writer = log.lock_writable()?;
        let now = log.now();
        let mut live = Vec::new();
        let mut bytes = 0;
        for candidate in candidates.drain(..) {
            if let Some(copy) = self.current_copy(&mut writer, candidate, now) {
                bytes += copy.header.frame_len();
                live.push(match format {
                    LogFormat::V1 => self.convert(&writer, copy)?,
                    LogFormat::V2 => copy,
                });
            }
        }
        let frames = live.iter().map(|copy| (&copy.header, &*copy.payload));
        let positions = log.append_all(&mut writer, frames, 0)?;
        for (copy, position) in live.iter().zip(positions) {
            let header = &copy.header;
            let entry = IndexEntry {
                key_slot: copy.key_slot,
                ..IndexEntry::new(header, position)
            };
            let previous = self.0.index.insert(header.key, entry);
            let removed = previous.map_or(0, |previous| previous.live_bytes());
            writer.adjust_live(entry.live_bytes(), removed);
            if !entry.tagged && previous.is_some_and(|previous| previous.tagged) {
                writer.tags.remove(&header.key);
            }
        }
        Ok(bytes)
    }

    /// Converts a frame of format version 1. There, the tags of a record are in another frame.
    fn convert<'a>(
        &self,
        writer: &LogWriter,
        mut copy: FrameCopy<'a>,
    ) -> Result<FrameCopy<'a>, FileError> {
        copy.header.tagged = false;
        let key = &copy.header.key;
        let Some(tags) = writer.tags.get(key) else {
            return Ok(copy);
        };
        let payload = if copy.header.encrypted {
            let cipher = self.0.log.options().cipher.as_ref();
            let cipher = cipher.ok_or(FileError::NoKeys)?;
            match cipher.open(key, &copy.payload) {
                Ok(data) => {
                    copy.key_slot = FIRST_KEY;
                    cipher.seal(key, &payload::encode(tags, &data))?
                }
                // No key opens the record, so it needs no tags.
                Err(error) if error.is_unreadable() => return Ok(copy),
                Err(error) => return Err(error),
            }
        } else {
            payload::encode(tags, &copy.payload)
        };
        copy.header.tagged = true;
        copy.header = copy.header.with_payload(&payload);
        copy.payload = Cow::Owned(payload.into());
        Ok(copy)
    }

    /// Returns the copy of a candidate, or `None` if it is not live any more. An expired entry is
    /// removed from the index if there is room for more garbage, and copied otherwise.
    fn current_copy<'a>(
        &self,
        writer: &mut LogWriter,
        candidate: Candidate<'a>,
        now: Timestamp,
    ) -> Option<FrameCopy<'a>> {
        let mut copy = candidate.copy;
        let entry = self.current_entry(&copy.header, candidate.position)?;
        let without = writer.usage().after_change(0, entry.live_bytes());
        if entry.expires <= now && without.fits() {
            self.0.index_remove(writer, &copy.header.key);
            writer.has_unrecorded_expiry = true;
            add(&self.0.log.counters().expired, 1);
            return None;
        }
        // Touches may have extended the expiry.
        copy.header.expires = entry.expires;
        Some(copy)
    }

    /// Deletes a segment whose live frames were copied.
    ///
    /// The copies are synced first. If a crash prevents the deletion, reading the segment again
    /// changes nothing. A missing segment needs the compacted frame. The open frame keeps the
    /// newest version, which only the deleted segment may hold. The deletion is synced before the
    /// next segment is compacted, so an older segment never exists while a newer one is gone.
    fn delete_segment(&self, source: &Segment, mut len: u64) -> Result<(), FileError> {
        let log = &self.0.log;
        log.sync()?;
        match self.append_compacted(source) {
            Ok(()) => {}
            // There is no space for the frame. A mark in the head means the same, and truncating the
            // segment frees space.
            Err(error) if error.is_full() && source.format == LogFormat::V2 => {
                self.on_segment(source, "truncate", || source.discard_frames())?;
                log.free_space(len.saturating_sub(SEGMENT_HEAD_LEN as u64));
                len = len.min(SEGMENT_HEAD_LEN as u64);
                self.append_compacted(source)?;
            }
            Err(error) => return Err(error),
        }
        log.sync()?;
        self.on_segment(source, "remove", || source.remove_file(log.disk()))?;
        self.on_segment(source, "remove", || log.disk().sync_entries())?;
        log.free_space(len);
        log.remove_hint(source);
        log.forget_segment(source);
        Ok(())
    }

    /// Appends the frames that replace a deleted segment.
    fn append_compacted(&self, source: &Segment) -> Result<(), FileError> {
        let log = &self.0.log;
        let mut writer = log.lock_writable()?;
        if writer.compacted == source.id {
            // An earlier attempt has appended the frames, and could not delete the segment.
            return Ok(());
        }
        let compacted = FrameHeader::without_key(FrameKind::Compacted, source.id.into());
        let open = log.open_frame(&writer);
        let frames = [&compacted, &open].map(|header| (header, &[][..]));
        log.append_all(&mut writer, frames.into_iter(), 0)?;
        writer.compacted = source.id;
        Ok(())
    }

    fn on_segment(
        &self,
        segment: &Segment,
        action: &'static str,
        operation: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), FileError> {
        operation().map_err(|error| {
            let path = self.0.log.disk().locate(&file_names::segment(segment.id));
            if is_full(&error) {
                FileError::Full { path }
            } else {
                FileError::io(action, path, error)
            }
        })
    }

    /// Returns the pause after reading `bytes` that keeps the configured rate.
    pub(crate) fn pause_after(&self, bytes: u64) -> Duration {
        let rate = self.0.log.options().compaction_rate.max(1);
        Duration::from_secs_f64(bytes as f64 / rate as f64)
    }
}
