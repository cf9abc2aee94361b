//! The coarse clock of the C library.

#![allow(unsafe_code, reason = "the standard library has no coarse clock")]

/// Returns the milliseconds since the Unix epoch, or `None` if the clock fails.
pub(super) fn millis() -> Option<u64> {
    // The C library, not the vDSO, so that valgrind and libfaketime can replace the clock.
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid `timespec` that lives through the call, and the call keeps no pointer
    // to it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut time) };
    if result != 0 {
        return None;
    }
    // Never negative after the maximum. Each request reads the clock, and a conversion with a check takes longer.
    let seconds = time.tv_sec.max(0) as u64;
    let millis = time.tv_nsec.max(0) as u64 / 1_000_000;
    // The kernel counts nanoseconds in 63 bits, so the sum fits.
    Some(seconds.wrapping_mul(1000).wrapping_add(millis))
}
