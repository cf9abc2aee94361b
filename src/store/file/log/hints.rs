//! Writing hint files.

use super::{append_log::AppendLog, segment::Segment};
use crate::store::file::{
    error::FileError,
    format::{file_names, hint},
};

impl AppendLog {
    /// Writes the hint file of a segment that has ended, if there is room for it.
    ///
    /// The segment is synced first, because a hint must not outlive its segment. The hint is not
    /// synced. It is optional, and a checksum detects one that a crash interrupted.
    pub(crate) fn write_hint(&self, segment: &Segment) -> Result<(), FileError> {
        let max_len = segment.file.len().unwrap_or(0) / 4;
        if self.lock().usage.room() < max_len {
            return Ok(());
        }
        segment.mark_hint_done();
        let bytes = self.sync_and_read(segment)?;
        match hint::encode(&bytes, segment.id, segment.salt) {
            Some(hint) => self.write_hint_file(segment, &hint),
            None => Ok(()),
        }
    }

    /// Writes the hint file of the last segment of a closed store. If a whole hint would not save
    /// enough, or there is no room for it, it still shows how far the segment was durable.
    pub(crate) fn write_last_hint(&self, segment: &Segment) -> Result<(), FileError> {
        let bytes = self.sync_and_read(segment)?;
        let room = self.lock().usage.room();
        let hint = hint::encode(&bytes, segment.id, segment.salt);
        let hint = hint.filter(|hint| hint.len() as u64 <= room);
        match hint.or_else(|| hint::encode_marks(&bytes, segment.id, segment.salt)) {
            Some(hint) => self.write_hint_file(segment, &hint),
            None => Ok(()),
        }
    }

    fn sync_and_read(&self, segment: &Segment) -> Result<Vec<u8>, FileError> {
        segment.file.sync().map_err(|error| self.poison(&error))?;
        segment.read_all(self.disk())
    }

    fn write_hint_file(&self, segment: &Segment, hint: &[u8]) -> Result<(), FileError> {
        let name = file_names::hint(segment.id);
        let fail = |error| FileError::io("write", self.disk().locate(&name), error);
        let file = self.disk().create(&name).map_err(fail)?;
        if let Err(error) = file.write_at(hint, 0) {
            let _ = self.disk().remove(&name);
            return Err(fail(error));
        }
        let len = hint.len() as u64;
        segment.set_hint_len(len);
        self.lock().usage.total += len;
        Ok(())
    }
}
