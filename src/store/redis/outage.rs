//! Outages: one report when an outage starts, one when it ends, a count in between.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::TransientError;
use crate::sync::lock;

/// The start or end of an outage, reported to [`on_outage`](super::RedisStoreBuilder::on_outage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// An operation has failed after all its attempts; the operation before it had succeeded.
    Started {
        /// The failure of the last attempt.
        cause: TransientError,
    },
    /// An operation has succeeded again.
    Ended {
        /// The time since the first failure.
        lasted: Duration,
        /// The number of operations that failed during the outage.
        failed: u64,
    },
}

/// The current outage, if any. Without an outage, it costs one relaxed load per operation.
#[derive(Default)]
pub(super) struct OutageTracker {
    /// Set while `current` has a value. Changed only under its lock.
    is_active: AtomicBool,
    /// The start of the outage and the number of failures since.
    current: Mutex<Option<(Instant, u64)>>,
    outages: AtomicU64,
}

impl OutageTracker {
    /// Records that an operation succeeded. Returns the outage that ends with it.
    pub(super) fn record_success(&self) -> Option<Outage> {
        if !self.is_active.load(Relaxed) {
            return None;
        }
        let mut current = lock(&self.current);
        self.is_active.store(false, Relaxed);
        current.take().map(|(start, failed)| Outage::Ended {
            lasted: start.elapsed(),
            failed,
        })
    }

    /// Records that an operation failed because the server did not answer. Returns the outage that
    /// starts with it.
    pub(super) fn record_failure(&self, cause: TransientError) -> Option<Outage> {
        let mut current = lock(&self.current);
        if let Some((_, failed)) = &mut *current {
            *failed += 1;
            return None;
        }
        *current = Some((Instant::now(), 1));
        self.is_active.store(true, Relaxed);
        self.outages.fetch_add(1, Relaxed);
        Some(Outage::Started { cause })
    }

    /// Returns the number of outages so far.
    pub(super) fn count(&self) -> u64 {
        self.outages.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
