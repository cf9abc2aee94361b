//! Time while the clock is behind the log.

use std::time::{Duration, Instant};

use crate::{
    clock::Timestamp,
    store::file::{event::FileEvent, options::Options},
};

/// Maximum lag of the clock that is not reported. A clock that is synchronized is set back by less.
const MAX_SILENT_LAG: Duration = Duration::from_secs(60);

/// The state of a log whose newest time is later than the clock, which was set back or wrong.
///
/// Time continues from the newest one in the log. An expired session therefore does not become alive
/// again, and a new one expires after its lifetime, however far the clock is behind.
pub(super) struct ClockLag {
    /// The newest time that an earlier process recorded in the log.
    newest: Timestamp,
    opened: Instant,
}

impl ClockLag {
    /// Returns the lag of the clock, if any, and reports a long one.
    pub(super) fn new(options: &Options, newest: Timestamp) -> Option<Self> {
        let clock = options.clock.now();
        if newest.duration_since(clock) > MAX_SILENT_LAG {
            options.emit(&FileEvent::ClockBehind { newest, clock });
        }
        let opened = Instant::now();
        (newest > clock).then_some(Self { newest, opened })
    }

    /// Returns the newest time in the log, and the time since the opening.
    pub(super) fn now(&self) -> Timestamp {
        self.newest.saturating_add(self.opened.elapsed())
    }
}
