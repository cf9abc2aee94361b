//! The file store.

pub(crate) mod log;

/// The time of sleeps, which is the system's.
mod monotonic_time {
    use std::time::{Duration, Instant};

    #[derive(Default)]
    pub(crate) struct MonotonicTime;

    impl MonotonicTime {
        pub(crate) fn now(&self) -> Instant {
            Instant::now()
        }

        pub(crate) const fn advance(&self, _: Duration) -> bool {
            false
        }
    }
}

/// Errors.
pub(crate) mod error {
    /// A failure of the disk.
    #[derive(Debug)]
    pub(crate) struct FileError;
}
