//! Detects that a name in the directory has changed, without a look-up of each file.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::store::file::disk::EntryStamp;

/// Upper bound of the steps in which a file system records times: a tick of the kernel.
const TIME_STEP: Duration = Duration::from_millis(20);

/// The names in the directory at the last check of all files.
#[derive(Default)]
pub(super) struct KnownEntries(Option<KnownStamp>);

struct KnownStamp {
    stamp: EntryStamp,
    seen: Instant,
    /// All files were checked later than a step of time after the stamp was seen, so a later change of
    /// the names has another stamp.
    settled: bool,
}

impl KnownEntries {
    /// Returns `true` if no name has changed since the last check of all files. Otherwise the caller must
    /// check them.
    pub(super) fn is_current(&mut self, stamp: io::Result<EntryStamp>) -> bool {
        let Ok(stamp) = stamp else {
            self.0 = None;
            return false;
        };
        match &mut self.0 {
            Some(known) if known.stamp == stamp => {
                let was_settled = known.settled;
                known.settled |= known.seen.elapsed() >= TIME_STEP;
                was_settled
            }
            known => {
                let (seen, settled) = (Instant::now(), false);
                *known = Some(KnownStamp {
                    stamp,
                    seen,
                    settled,
                });
                false
            }
        }
    }
}
