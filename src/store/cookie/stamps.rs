//! Versions that no record has twice.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{clock::Timestamp, store::Version};

/// Bits of a version below those that tell the millisecond.
const WITHIN: u32 = 20;

/// The versions that this process gave: later ones are larger, and so are those of later processes.
#[derive(Default)]
pub(super) struct Stamps(AtomicU64);

impl Stamps {
    pub(super) fn next(&self, now: Timestamp) -> Version {
        let by_time = now.as_millis().min(u64::MAX >> WITHIN) << WITHIN;
        let follow = |last: u64| Some(by_time.max(last.saturating_add(1)));
        let last = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, follow)
            .unwrap_or_else(|last| last);
        Version::new(by_time.max(last.saturating_add(1))).unwrap_or(Version::FIRST)
    }
}
