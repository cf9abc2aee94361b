//! A limit for warnings that clients can cause.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::Timestamp;

/// Minimum interval between two warnings of one kind that clients can cause.
const LOG_INTERVAL_MS: u64 = 10_000;

/// Limits the warnings of one kind.
pub(super) struct Throttle {
    /// Time of the last warning, in milliseconds since the epoch.
    last: AtomicU64,
    /// Number of events since the last warning.
    left_out: AtomicU64,
}

impl Throttle {
    pub(super) const fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Returns the number of events since the last warning if another warning is due; otherwise `None`.
    pub(super) fn admit(&self, now: Timestamp) -> Option<u64> {
        let (last, now) = (self.last.load(Relaxed), now.as_millis());
        let is_due = last == 0 || now.abs_diff(last) >= LOG_INTERVAL_MS;
        if is_due && (self.last.compare_exchange(last, now, Relaxed, Relaxed)).is_ok() {
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests;
