//! Writing hint files.

use std::io;

use super::{append_log::AppendLog, segment::Segment};
use crate::store::file::{
    error::FileError,
    format::{file_names, hint},
    log::space::SpaceUsage,
};

impl AppendLog {
    /// Writes the hint file of a segment that has ended, if there is room for it.
    ///
    /// The segment is synced first, because a hint must not outlive its segment. The hint is not
    /// synced. It is optional, and a checksum detects one that a crash interrupted.
    pub(crate) fn write_hint(&self, segment: &Segment) -> Result<(), FileError> {
        // The segment is not read if there is no room.
        let max_len = hint::max_hint_len(segment.file.len().unwrap_or(0));
        if self.lock().usage().room() < max_len {
            return Ok(());
        }
        segment.set_hint_done(true);
        let bytes = self.sync_and_read(segment)?;
        let Some(hint) = hint::encode(&bytes, segment.id, segment.salt) else {
            return Ok(());
        };
        if self.reserve_hint(segment, &hint, SpaceUsage::room) {
            return self.write_hint_file(segment, &hint);
        }
        // Mutations took the room meanwhile. A later call tries again.
        segment.set_hint_done(false);
        Ok(())
    }

    /// Writes the hint file of the last segment of a closed store. If a whole hint would not save
    /// enough, or there is no room for it, it still shows how far the segment was durable.
    pub(crate) fn write_last_hint(&self, segment: &Segment) -> Result<(), FileError> {
        let bytes = self.sync_and_read(segment)?;
        if let Some(hint) = hint::encode(&bytes, segment.id, segment.salt)
            && self.reserve_hint(segment, &hint, SpaceUsage::room)
        {
            return self.write_hint_file(segment, &hint);
        }
        // It may take the space of a compaction, since the next opening removes it. After a recovery, which may have
        // dropped sessions and so lowered the limit, it is always written: without it, later damage of the recovered
        // frame could pass for a crash, and an older hint for a loss.
        let is_recovered = hint::has_recovered_frame(&bytes, segment.salt);
        let available = |usage: SpaceUsage| match is_recovered {
            true => u64::MAX,
            false => usage.free(),
        };
        match hint::encode_marks(&bytes, segment.id, segment.salt) {
            Some(hint) if self.reserve_hint(segment, &hint, available) => {
                self.write_hint_file(segment, &hint)
            }
            _ => Ok(()),
        }
    }

    fn sync_and_read(&self, segment: &Segment) -> Result<Vec<u8>, FileError> {
        self.sync_segment(segment)?;
        segment.read_all(self.disk())
    }

    /// Reserves space for a hint file. Returns `false` if it is longer than `available`.
    fn reserve_hint(
        &self,
        segment: &Segment,
        hint: &[u8],
        available: impl Fn(SpaceUsage) -> u64,
    ) -> bool {
        let (len, mut writer) = (hint.len() as u64, self.lock());
        let fits = len <= available(writer.usage());
        if fits {
            writer.usage.total += len;
            segment.set_hint_len(len);
        }
        fits
    }

    /// Writes a hint file for which space is reserved. If that fails, gives the space back.
    fn write_hint_file(&self, segment: &Segment, hint: &[u8]) -> Result<(), FileError> {
        let name = file_names::hint(segment.id);
        let created = self.disk().create(&name);
        let written = created.and_then(|file| file.write_at(hint, 0));
        written.map_err(|error| {
            self.remove_hint(segment);
            FileError::io("write", self.disk().locate(&name), error)
        })
    }

    /// Removes the hint file of a segment, if there is one, and gives its space back. If that fails, the next
    /// opening removes the file.
    pub(crate) fn remove_hint(&self, segment: &Segment) {
        let removed = self.disk().remove(&file_names::hint(segment.id));
        let error = removed.err();
        if error.is_none_or(|error| error.kind() == io::ErrorKind::NotFound) {
            self.free_space(segment.hint_len());
            segment.set_hint_len(0);
        }
    }
}
