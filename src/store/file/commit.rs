//! Group commit: whoever waits for the disk at the same time shares one sync.

use std::{
    mem::take,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::engine::{Engine, lock};

/// The writers who wait, and the thread that lets them go on.
#[derive(Default)]
pub(super) struct Commits {
    state: Mutex<State>,
    wake: Condvar,
    /// Whether something was appended since the last sync began.
    dirty: AtomicBool,
}

#[derive(Default)]
struct State {
    waiters: Vec<oneshot::Sender<()>>,
    /// The thread is woken once this many wait.
    wanted: usize,
    stop: bool,
    /// The thread has ended: nobody is answered any more.
    over: bool,
}

/// Answered once everything that was appended before is durable; dropped where that failed.
pub(super) type Wait = oneshot::Receiver<()>;

impl Commits {
    /// Waits for the next sync to begin and end.
    pub(super) fn wait(&self) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if !state.over {
            state.waiters.push(sender);
        }
        if state.waiters.len() >= state.wanted {
            self.wake.notify_one();
        }
        receiver
    }

    /// Something was appended that the disk has to get within the interval.
    pub(super) fn soil(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            drop(lock(&self.state));
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        lock(&self.state).stop = true;
        self.wake.notify_all();
    }

    /// The thread for [`Always`](super::Durability::Always): sync for whoever waits, answer, and
    /// so on until stopped.
    ///
    /// The writers of the last group usually come back at once with their next write. So that
    /// the first of them does not get a sync of its own that the others then wait for, the next
    /// group is waited for up to half the time that a sync takes.
    pub(super) fn run_always(&self, engine: &Engine) {
        let (mut expected, mut patience) = (1, Duration::ZERO);
        while let Some(group) = self.gather(expected, patience) {
            let began = Instant::now();
            let synced = engine.sync();
            patience = began.elapsed() / 2;
            expected = group.len();
            if synced.is_ok() {
                for waiter in group {
                    // Whoever stopped waiting has its write in the log all the same.
                    let _ = waiter.send(());
                }
            }
        }
    }

    /// Everybody who waits, once there is somebody; `None` after the stop when nobody is left.
    fn gather(&self, expected: usize, patience: Duration) -> Option<Vec<oneshot::Sender<()>>> {
        let mut state = lock(&self.state);
        state.wanted = 1;
        while state.waiters.is_empty() {
            if state.stop {
                state.over = true;
                return None;
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.wanted = expected;
        let until = Instant::now() + patience;
        while state.waiters.len() < expected && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.sleep(state, left);
        }
        Some(take(&mut state.waiters))
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let slept = self.wake.wait_timeout(state, time);
        slept.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The thread for [`Interval`](super::Durability::Interval): a sync at most that long after
    /// the first append since the last one.
    pub(super) fn run_interval(&self, engine: &Engine, interval: Duration) {
        let mut state = lock(&self.state);
        while !state.stop {
            if !self.dirty.load(Ordering::Acquire) {
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let until = Instant::now() + interval;
            while !state.stop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.sleep(state, left);
            }
            drop(state);
            self.dirty.store(false, Ordering::Release);
            // A failure has poisoned the store, which tells writers and listeners.
            let _ = engine.sync();
            state = lock(&self.state);
        }
    }
}
