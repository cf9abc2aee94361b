//! Version numbers that do not repeat.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{id::SessionId, store::Version};

/// A sequence of versions from a random start.
///
/// The numbers are those of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014), in 63 bits. They are a permutation of all 63-bit numbers, so one store never
/// repeats a number. Two numbers of two stores with different random starts agree with a probability
/// of 2⁻⁶³, and that matters only under the same key.
pub(super) struct VersionGenerator(AtomicU64);

impl VersionGenerator {
    /// Starts at a number from the operating system's random source, or at the time if that source
    /// fails.
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

    pub(super) fn next_version(&self) -> Version {
        loop {
            if let Some(version) = Version::new(self.next_number()) {
                return version;
            }
        }
    }

    /// Returns the next number. Zero occurs once in 2⁶³ numbers.
    pub(super) fn next_number(&self) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        // Each step is invertible in 63 bits as well, so that no number is skipped.
        const BITS: u64 = u64::MAX >> 1;
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed) & BITS;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9) & BITS;
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) & BITS;
        z ^ (z >> 31)
    }
}
