//! The timer of the background task that removes expired entries.

use std::time::Duration;

use futures_timer::Delay;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time,
};

use crate::clock::Clock;

/// Pause of the background task between two sweeps.
const PAUSE: Duration = Duration::from_secs(1);

/// The timer between two sweeps.
#[derive(Clone, Copy)]
pub(super) enum SweepTimer {
    /// The timer of the runtime. While it is pending, each time that the runtime waits for I/O takes about 190
    /// instructions more.
    Runtime,
    /// A timer with a thread of its own, for runtimes with several threads. Each system call of a process with a
    /// second thread takes about 50 instructions more.
    Thread,
}

impl SweepTimer {
    pub(super) fn new(runtime: &Handle, clock: &Clock) -> Self {
        // A test with a manual clock may also pause the time of the runtime.
        match runtime.runtime_flavor() {
            RuntimeFlavor::MultiThread if !clock.is_manual() => Self::Thread,
            _ => Self::Runtime,
        }
    }

    pub(super) async fn wait(self) {
        match self {
            Self::Runtime => time::sleep(PAUSE).await,
            Self::Thread => Delay::new(PAUSE).await,
        }
    }
}
