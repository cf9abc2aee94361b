//! Checks that the directory and its files are where the store opened them.

use std::sync::Arc;

use super::{
    append_log::{AppendLog, Poison},
    known_entries::KnownEntries,
    segment::Segment,
};
use crate::{
    store::file::{disk::PathChange, error::FileError},
    sync::read,
};

impl AppendLog {
    /// Checks that the directory, its lock file and all segments are where they were opened. If not,
    /// the store stops.
    pub(crate) fn check_paths(&self) -> Result<(), FileError> {
        let segments: Vec<_> = read(&self.segments).values().map(Arc::clone).collect();
        self.stop_if_changed(self.disk().check())?;
        let mut segments = segments.iter();
        self.stop_if_changed(segments.try_for_each(|segment| segment.check_entry(self.disk())))
    }

    /// Checks the directory and `segments`, which were synced. Checks all other files too if a name in
    /// the directory may have changed since the last call.
    pub(super) fn check_after_sync(
        &self,
        known: &mut KnownEntries,
        segments: &[Arc<Segment>],
    ) -> Result<(), FileError> {
        // The stamp is read before the files are checked, so that it misses no change.
        if known.is_current(self.disk().entry_stamp()) {
            self.check_segments(segments)
        } else {
            self.check_paths()
        }
    }

    /// Checks that the directory and these segments are where they were opened. If not, the store stops.
    pub(super) fn check_segments(&self, segments: &[Arc<Segment>]) -> Result<(), FileError> {
        let mut segments = segments.iter();
        self.stop_if_changed(segments.try_for_each(|segment| segment.check_path(self.disk())))
    }

    pub(super) fn stop_if_changed(&self, checked: Result<(), PathChange>) -> Result<(), FileError> {
        checked.map_err(|change| self.set_poison(Poison::PathChange(change)))
    }
}
