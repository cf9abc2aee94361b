//! Wakes the maintenance thread; repeated wakeups cost one atomic operation.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use crate::{
    store::file::monotonic_time::MonotonicTime,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

/// A signal that wakes one thread, or requests that it stops.
#[derive(Default)]
pub(crate) struct Wakeup {
    notified: AtomicBool,
    stopped: AtomicBool,
    gate: Mutex<()>,
    condvar: Condvar,
    time: MonotonicTime,
}

impl Wakeup {
    pub(crate) fn new(time: MonotonicTime) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }

    /// Returns the time that the sleeps take.
    pub(crate) fn now(&self) -> Instant {
        self.time.now()
    }

    /// Wakes the thread.
    pub(crate) fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            // Once the gate was locked, the thread either sleeps or has yet to check the flag.
            drop(lock(&self.gate));
            self.condvar.notify_all();
        }
    }

    /// Wakes the thread and requests that it ends.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        drop(lock(&self.gate));
        self.condvar.notify_all();
    }

    /// Returns `true` after [`stop`](Self::stop).
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Sleeps for `time`, or until a wakeup or the stop.
    pub(crate) fn sleep(&self, time: Duration) {
        self.wait(time, || !self.notified.load(Ordering::Acquire));
        self.clear();
    }

    /// Sleeps for `time`, or until the stop, or until `keep_sleeping` returns `false` at a wakeup.
    ///
    /// `keep_sleeping` must not take a lock. Earlier wakeups are discarded, so the caller must check
    /// for work afterwards.
    pub(crate) fn sleep_while(&self, time: Duration, keep_sleeping: impl Fn() -> bool) {
        self.clear();
        self.wait(time, keep_sleeping);
    }

    /// Discards the earlier wakeups.
    ///
    /// A swap sees what the threads did before their wakeups. After a store, the caller might not see it, although
    /// those threads do not wake it again.
    fn clear(&self) {
        self.notified.swap(false, Ordering::AcqRel);
    }

    fn wait(&self, time: Duration, keep_sleeping: impl Fn() -> bool) {
        let gate = lock(&self.gate);
        let asleep = |_: &mut ()| !self.is_stopped() && keep_sleeping();
        if asleep(&mut ()) && self.time.advance(time) {
            return;
        }
        let slept = self.condvar.wait_timeout_while(gate, time, asleep);
        drop(slept.unwrap_or_else(PoisonError::into_inner));
    }
}
