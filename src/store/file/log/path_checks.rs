//! Checks that the directory and its files are where the store opened them.

use std::{sync::Arc, time::Duration};

use super::{
    append_log::{AppendLog, Poison},
    known_entries::{KnownEntries, NextCheck},
    segment::Segment,
};
use crate::{
    store::file::{
        disk::{PathChange, PathLookup},
        error::FileError,
    },
    sync::read,
};

/// The first pause before the files are looked up again, if a transient error prevents it. Each further pause is
/// twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The number of these pauses: about a second in all.
const PAUSES: u32 = 10;

impl AppendLog {
    /// Checks that the directory, its lock file and all segments are where they were opened. If not,
    /// the store stops.
    pub(crate) fn check_paths(&self) -> Result<PathLookup, FileError> {
        let segments: Vec<_> = read(&self.segments).values().map(Arc::clone).collect();
        let mut lookup = self.stop_if_changed(self.disk().check())?;
        for segment in segments {
            lookup = lookup.and(self.stop_if_changed(segment.check_entry(self.disk()))?);
        }
        Ok(lookup)
    }

    /// Checks the directory and a segment. Ignores a transient error, since each sync has checks of its own.
    pub(super) fn check_segment(&self, segment: &Segment) -> Result<(), FileError> {
        let _ = self.stop_if_changed(self.disk().check())?;
        let checked = segment.check_entry(self.disk());
        self.stop_if_changed(checked).map(drop)
    }

    /// Checks all files after a sync if the directory may have changed since the last call. Otherwise checks
    /// only the path of the directory and the length of the `active` segment, and not at each call.
    ///
    /// The store stops if the files cannot be looked up in 11 attempts. The pauses take about a second, and each attempt
    /// may take as long as the file system blocks. Without the check, acknowledged data could be lost.
    pub(super) fn check_after_sync(
        &self,
        known: &mut KnownEntries,
        active: &Segment,
    ) -> Result<(), FileError> {
        let time = &self.options().monotonic_time;
        let mut pauses = (0..PAUSES).map(|number| FIRST_PAUSE * 2_u32.pow(number));
        loop {
            // The stamp is read before the files are checked, so that it misses no change.
            let lookup = match known.next_check(self.disk().entry_stamp(), time.now()) {
                NextCheck::Files => self.check_paths()?,
                NextCheck::Directory => {
                    self.stop_if_changed(active.check_len(self.disk()))?;
                    self.stop_if_changed(self.disk().check())?
                }
                NextCheck::None => return Ok(()),
            };
            let PathLookup::Failed(error) = lookup else {
                return Ok(());
            };
            known.forget();
            let Some(pause) = pauses.next() else {
                let reason = format!("cannot look up its files after a sync: {error}");
                return Err(self.set_poison(Poison::Write(reason.into())));
            };
            time.sleep(pause);
        }
    }

    pub(super) fn stop_if_changed<T>(
        &self,
        checked: Result<T, PathChange>,
    ) -> Result<T, FileError> {
        checked.map_err(|change| self.set_poison(Poison::PathChange(change)))
    }
}
