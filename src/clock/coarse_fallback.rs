//! The fallback for systems without a coarse clock.

/// Returns `None`.
pub(super) const fn millis() -> Option<u64> {
    None
}
