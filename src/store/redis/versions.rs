//! Numbers that do not come twice.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{id::SessionId, store::Version};

/// A sequence of versions from a random start.
///
/// The numbers are made as those of `SplitMix64` (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014), in 63 bits: a permutation of them all, so one store never
/// gives one twice. Of two stores, each with its own random start, two given numbers agree with a
/// chance of 2⁻⁶³; it matters only under one and the same key.
pub(super) struct Versions(AtomicU64);

impl Versions {
    /// A sequence that starts where the operating system's random source says. Without one it
    /// starts at the clock.
    pub(super) fn new() -> Self {
        let start = SessionId::generate().map_or_else(
            |_| crate::clock::Clock::system().now().as_millis(),
            |id| {
                let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
                u64::from_le_bytes([a, b, c, d, e, f, g, h])
            },
        );
        Self(AtomicU64::new(start))
    }

    pub(super) fn next(&self) -> Version {
        loop {
            if let Some(version) = Version::new(self.number()) {
                return version;
            }
        }
    }

    /// The next number, zero among them once in 2⁶³.
    pub(super) fn number(&self) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        // Each step is undone by another one in 63 bits as well, so that no number is left out.
        const BITS: u64 = u64::MAX >> 1;
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed) & BITS;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9) & BITS;
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) & BITS;
        z ^ (z >> 31)
    }
}
