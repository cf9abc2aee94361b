//! The change from one segment of the log to the next.

use std::{io, sync::Arc};

use super::{append_log::AppendLog, log_writer::LogWriter, segment::Segment};
use crate::{
    store::file::{
        error::FileError,
        format::{
            frame::{FrameHeader, FrameKind, HEADER_LEN},
            segment_head::SEGMENT_HEAD_LEN,
        },
        options::MAX_SEGMENT_BYTES,
    },
    sync::write,
};

/// If no segment can be created, the active one may take this many times the configured length.
const MAX_EXCESS: u64 = 4;

impl AppendLog {
    /// Ends the active segment if `bytes` more do not fit. If the next segment cannot be created, the active one
    /// exceeds its length instead, up to a limit, and as long as the reserve for a compaction stays free.
    pub(super) fn ensure_capacity(
        &self,
        writer: &mut LogWriter,
        bytes: u64,
    ) -> Result<(), FileError> {
        writer.durable = self.durable();
        let max_len = writer.usage.roll_len();
        let needed = writer.tail + bytes + HEADER_LEN as u64;
        if needed > max_len / 2 && writer.next.is_none() {
            self.wakeup().notify();
        }
        if needed <= max_len || writer.is_active_empty() {
            return Ok(());
        }
        // While the next segment is being created, the active one may exceed its length instead of
        // waiting. That is short, unless the disk hangs.
        if writer.creating_next {
            return match needed <= 2 * MAX_SEGMENT_BYTES {
                true => Ok(()),
                false => Err(self.creation_timeout()),
            };
        }
        self.check_segment(&writer.active)?;
        match self.ensure_next(writer) {
            Ok(()) => self.begin_next(writer),
            // The maintenance thread tries again, and reports the failure.
            Err(_)
                if needed <= self.max_excess_len() && writer.usage_after_append(bytes).fits() =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the maximum length of the active segment while the next one cannot be created. An opening and a compaction read
    /// whole segments into memory.
    fn max_excess_len(&self) -> u64 {
        (self.options().segment_bytes * MAX_EXCESS).min(MAX_SEGMENT_BYTES)
    }

    /// Returns the error of an append while the disk hangs in the creation of the next segment.
    fn creation_timeout(&self) -> FileError {
        let path = self.disk().path().to_path_buf();
        FileError::io(
            "create the next segment in",
            path,
            io::ErrorKind::TimedOut.into(),
        )
    }

    /// Ends the active segment and continues in the next one.
    pub(crate) fn roll(&self, writer: &mut LogWriter) -> Result<(), FileError> {
        self.check_segment(&writer.active)?;
        self.ensure_next(writer)?;
        self.begin_next(writer)
    }

    /// Ends the active segment and continues in the next one, which exists.
    ///
    /// The next segment is durable before the end frame is written. An end frame without a following
    /// segment therefore means that a file was deleted.
    fn begin_next(&self, writer: &mut LogWriter) -> Result<(), FileError> {
        writer.durable = self.durable();
        writer.stage(&FrameHeader::without_key(FrameKind::End, 0), &[]);
        self.write_staged(writer, 0)?;
        if let Some(next) = writer.next.take() {
            writer.release_preallocated();
            writer.usage.longest = writer.usage.longest.max(writer.tail);
            writer.begin_segment(next);
        }
        Ok(())
    }

    /// Creates the segment after the active one, unless it exists.
    fn ensure_next(&self, writer: &mut LogWriter) -> Result<(), FileError> {
        if writer.next.is_none() {
            let id = writer.active.id.saturating_add(1);
            self.set_next(writer, Segment::create(self.disk(), id, self.durable())?);
        }
        Ok(())
    }

    /// Creates the next segment once the active one is half full, without blocking writers.
    pub(crate) fn prepare_next(&self) -> Result<(), FileError> {
        let id = {
            let mut writer = self.lock_writable()?;
            let half = writer.usage.roll_len() / 2;
            if writer.next.is_some() || writer.tail < half {
                return Ok(());
            }
            writer.creating_next = true;
            writer.active.id.saturating_add(1)
        };
        let created = Segment::create(self.disk(), id, self.durable());
        let mut writer = self.lock();
        writer.creating_next = false;
        self.set_next(&mut writer, created?);
        Ok(())
    }

    fn set_next(&self, writer: &mut LogWriter, next: Segment) {
        let next = Arc::new(next);
        write(&self.segments).insert(next.id, Arc::clone(&next));
        writer.usage.segments += 1;
        writer.usage.total += SEGMENT_HEAD_LEN as u64;
        writer.next = Some(next);
    }
}
