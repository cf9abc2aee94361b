//! The time source.
//!
//! All code of this crate takes the time from a [`Clock`]. A test passes a manual clock, and
//! advances it.

#[cfg(not(target_os = "linux"))]
#[path = "clock/coarse_fallback.rs"]
mod coarse;
#[cfg(target_os = "linux")]
#[path = "clock/coarse_linux.rs"]
mod coarse;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point in time, in whole milliseconds since the Unix epoch.
///
/// Arithmetic saturates. A sum that does not fit is [`Timestamp::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last representable time. An entry that expires then never expires.
    pub const MAX: Self = Self(u64::MAX);

    /// Creates a timestamp from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this timestamp, or zero if `earlier` is later.
    pub const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns the timestamp `duration` after this one, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        // A time that the platform cannot represent becomes the last second of a 32-bit time.
        UNIX_EPOCH
            .checked_add(Duration::from_millis(timestamp.0))
            .unwrap_or(UNIX_EPOCH + Duration::from_secs(i32::MAX as u64))
    }
}

/// A source of time: the system clock, or a manual clock for tests.
///
/// Clones are cheap. Clones of a manual clock share its time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// Creates a clock that returns the system's wall-clock time.
    ///
    /// On Linux it is the coarse clock, which is up to a few milliseconds late and costs a fraction
    /// of the precise clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// Creates a manual clock at `start`. Only [`advance`](Self::advance) and [`set`](Self::set) change its time.
    ///
    /// No thread sweeps a [`MemoryStore`](crate::MemoryStore) with a manual clock.
    ///
    /// ```
    /// use hyper_session::clock::{Clock, Timestamp};
    /// use std::time::Duration;
    ///
    /// let clock = Clock::manual(Timestamp::from_millis(1_000));
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!(clock.now(), Timestamp::from_millis(3_000));
    /// ```
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicU64::new(start.0))))
    }

    /// Returns `true` for a manual clock.
    pub(crate) const fn is_manual(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(millis) => Timestamp(millis.load(Ordering::Acquire)),
            None => Timestamp(system_millis()),
        }
    }

    /// Advances a manual clock. Has no effect on the system clock.
    pub fn advance(&self, duration: Duration) {
        if let Some(millis) = &self.0 {
            let duration = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let _ = millis.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                Some(now.saturating_add(duration))
            });
        }
    }

    /// Sets the time of a manual clock, which may be an earlier time. Has no effect on the system clock.
    pub fn set(&self, time: Timestamp) {
        if let Some(millis) = &self.0 {
            millis.store(time.0, Ordering::Release);
        }
    }
}

/// Returns the system time. The coarse clock costs a fraction of `SystemTime::now`.
fn system_millis() -> u64 {
    coarse::millis().unwrap_or_else(std_millis)
}

/// Returns the time of the standard library's clock.
fn std_millis() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
