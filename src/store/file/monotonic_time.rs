//! The time that the threads of a store measure.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::sync::lock;

/// A source of monotonic time: the system's, or a simulated one, which only sleeps and a simulated disk
/// advance.
#[derive(Clone, Default)]
pub(crate) struct MonotonicTime(Option<Arc<Mutex<Instant>>>);

impl From<Instant> for MonotonicTime {
    /// Creates a simulated source that starts at `begin`.
    fn from(begin: Instant) -> Self {
        Self(Some(Arc::new(Mutex::new(begin))))
    }
}

impl MonotonicTime {
    pub(crate) fn now(&self) -> Instant {
        match &self.0 {
            Some(now) => *lock(now),
            None => Instant::now(),
        }
    }

    /// Advances simulated time. Returns `false` for the system's time.
    pub(crate) fn advance(&self, time: Duration) -> bool {
        if let Some(now) = &self.0 {
            *lock(now) += time;
        }
        self.0.is_some()
    }

    /// Sleeps for `time`.
    pub(crate) fn sleep(&self, time: Duration) {
        if !self.advance(time) {
            thread::sleep(time);
        }
    }
}
