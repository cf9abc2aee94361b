//! Waking the background thread, at next to no cost where it has been woken already.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::engine::lock;

#[derive(Default)]
pub(super) struct Nudge {
    given: AtomicBool,
    stop: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
}

impl Nudge {
    /// There is something to do.
    pub(super) fn give(&self) {
        if !self.given.swap(true, Ordering::AcqRel) {
            // Passing the gate means that the thread is either asleep or has yet to look.
            drop(lock(&self.gate));
            self.wake.notify_all();
        }
    }

    /// There is nothing to do any more, ever.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        drop(lock(&self.gate));
        self.wake.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sleeps until nudged or stopped, at most for `time`.
    pub(super) fn sleep(&self, time: Duration) {
        self.wait(time, || !self.given.load(Ordering::Acquire));
        self.given.store(false, Ordering::Release);
    }

    /// Sleeps for `time`, or until stopped, or until `tired`, which must not take a lock, says no
    /// at a nudge. It takes the
    /// nudges that came before, so whatever they were about is to be looked at afterwards.
    pub(super) fn sleep_while(&self, time: Duration, tired: impl Fn() -> bool) {
        self.given.store(false, Ordering::Release);
        self.wait(time, tired);
    }

    fn wait(&self, time: Duration, tired: impl Fn() -> bool) {
        let gate = lock(&self.gate);
        let asleep = |_: &mut ()| !self.is_stopped() && tired();
        let slept = self.wake.wait_timeout_while(gate, time, asleep);
        drop(slept.unwrap_or_else(PoisonError::into_inner));
    }
}
