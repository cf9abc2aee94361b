//! Detects that a name in the directory has changed, without a look-up of each file.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::store::file::disk::EntryStamp;

/// Upper bound of the steps of fine times, in which a file system records changes: a tick of the kernel.
const TIME_STEP: Duration = Duration::from_millis(20);
/// Upper bound of the steps of coarse times. HFS+ and ext4 with small inodes record whole seconds, and FAT records
/// every other one.
const COARSE_TIME_STEP: Duration = Duration::from_millis(2100);
/// Minimum time between two checks of the directory's path. Unlike the stamp, the path also shows that a
/// directory above was moved. A look-up costs three times as much.
const DIRECTORY_INTERVAL: Duration = Duration::from_millis(10);

/// The check that is due after a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextCheck {
    None,
    /// The path of the directory.
    Directory,
    /// The directory and all files.
    Files,
}

/// The state of the directory at the last check of all files.
#[derive(Default)]
pub(crate) struct KnownEntries(Option<KnownStamp>);

struct KnownStamp {
    stamp: EntryStamp,
    seen: Instant,
    /// All files were checked later than a step of time after the stamp was seen, so a later change
    /// has another stamp.
    settled: bool,
    /// The time of the last check of the directory's path.
    checked: Instant,
}

/// Returns an upper bound of the steps in which the file system records times.
const fn time_step(stamp: EntryStamp) -> Duration {
    if stamp.nanoseconds == 0 {
        COARSE_TIME_STEP
    } else {
        TIME_STEP
    }
}

impl KnownEntries {
    /// Makes the next check one of all files.
    pub(crate) const fn forget(&mut self) {
        self.0 = None;
    }

    /// Returns the check that the caller must make, after it has read `stamp`.
    pub(crate) fn next_check(&mut self, stamp: io::Result<EntryStamp>, now: Instant) -> NextCheck {
        let Ok(stamp) = stamp else {
            self.0 = None;
            return NextCheck::Files;
        };
        match &mut self.0 {
            Some(known) if known.stamp == stamp && known.settled => {
                if now - known.checked < DIRECTORY_INTERVAL {
                    return NextCheck::None;
                }
                known.checked = now;
                NextCheck::Directory
            }
            Some(known) if known.stamp == stamp => {
                known.settled = now - known.seen >= time_step(stamp);
                known.checked = now;
                NextCheck::Files
            }
            known => {
                *known = Some(KnownStamp {
                    stamp,
                    seen: now,
                    settled: false,
                    checked: now,
                });
                NextCheck::Files
            }
        }
    }
}
