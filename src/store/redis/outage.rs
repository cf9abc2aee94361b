//! Outages: one word when one starts, one when it ends, a count in between.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::TransientError;

/// What [`on_outage`](super::RedisStoreBuilder::on_outage) is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// An operation has failed after all its attempts, and the last before it had not.
    Started {
        /// What the last attempt met.
        fault: TransientError,
    },
    /// An operation has succeeded again.
    Ended {
        /// How long it has been since the first failure.
        lasted: Duration,
        /// How many operations failed meanwhile.
        failed: u64,
    },
}

/// Whether there is an outage. While all is well it costs one relaxed load an operation.
#[derive(Default)]
pub(super) struct Watch {
    /// Whether `since` holds something. Set and cleared under its lock.
    down: AtomicBool,
    since: Mutex<Option<(Instant, u64)>>,
    outages: AtomicU64,
}

impl Watch {
    /// An operation succeeded; gives the outage that ends with it.
    pub(super) fn succeeded(&self) -> Option<Outage> {
        if !self.down.load(Relaxed) {
            return None;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        self.down.store(false, Relaxed);
        since.take().map(|(start, failed)| Outage::Ended {
            lasted: start.elapsed(),
            failed,
        })
    }

    /// An operation failed for want of a server; gives the outage that starts with it.
    pub(super) fn failed(&self, fault: TransientError) -> Option<Outage> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, failed)) = &mut *since {
            *failed += 1;
            return None;
        }
        *since = Some((Instant::now(), 1));
        self.down.store(true, Relaxed);
        self.outages.fetch_add(1, Relaxed);
        Some(Outage::Started { fault })
    }

    pub(super) fn outages(&self) -> u64 {
        self.outages.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
