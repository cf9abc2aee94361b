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

use super::{
    FileError,
    engine::{Engine, lock},
    waiting::enlist,
    write::{Attempt, Draft},
};

/// The longest time that a group is held open, whatever its disk has made others wait.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_millis(50);

/// How long to wait for the writers of a group that took `time`, should they come back.
pub(super) fn patience_after(time: Duration) -> Duration {
    LONGEST_PATIENCE.min(time / 2)
}

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
    group: Group,
    /// What the writes take that wait or are being written, also where nobody waits for them any
    /// more.
    bytes: usize,
    /// The thread is woken once so many wait.
    wanted: usize,
    stop: bool,
    /// The thread has ended: nobody is answered any more.
    over: bool,
}

/// Those who share the next sync.
#[derive(Default)]
struct Group {
    /// Writes that are still to be done.
    drafts: Vec<Draft>,
    /// What they take.
    bytes: usize,
    /// Who wrote them, in the same order.
    writers: Vec<oneshot::Sender<Result<Attempt, FileError>>>,
    /// Those whose doing is in the log already.
    waiters: Vec<oneshot::Sender<()>>,
}

/// Answered once everything that was appended before is durable; dropped where that failed.
pub(super) type Wait = oneshot::Receiver<()>;

/// Answered once the write was refused, or is done and durable; dropped where that failed.
pub(super) type Turn = oneshot::Receiver<Result<Attempt, FileError>>;

impl Group {
    const fn len(&self) -> usize {
        self.writers.len() + self.waiters.len()
    }
}

impl Commits {
    /// Waits for the next sync to begin and end.
    pub(super) fn wait(&self) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let state = lock(&self.state);
        self.join(state, |state| enlist(&mut state.group.waiters, sender));
        receiver
    }

    /// Has `draft` written with those of others who write at this time.
    pub(super) fn write(&self, engine: &Engine, draft: Draft) -> Result<Turn, FileError> {
        let (sender, receiver) = oneshot::channel();
        let bytes = draft.memory();
        let state = lock(&self.state);
        engine.check_backlog(state.bytes, bytes)?;
        self.join(state, |state| {
            state.bytes += bytes;
            state.group.bytes += bytes;
            state.group.drafts.push(draft);
            state.group.writers.push(sender);
        });
        Ok(receiver)
    }

    fn join(&self, mut state: MutexGuard<'_, State>, enter: impl FnOnce(&mut State)) {
        if state.over {
            return;
        }
        enter(&mut state);
        if state.group.len() == state.wanted {
            self.wake.notify_one();
        }
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

    /// The thread for [`Always`](super::Durability::Always): write and sync for whoever waits,
    /// answer, and so on until stopped.
    pub(super) fn run_always(&self, engine: &Engine) {
        let (mut expected, mut patience) = (1, Duration::ZERO);
        while let Some(group) = self.gather(expected, patience) {
            let (began, members) = (Instant::now(), group.len());
            self.commit(engine, group);
            patience = patience_after(began.elapsed());
            expected = members + lock(&self.state).group.len();
        }
    }

    /// Does what is to be done, and lets everybody go on if the disk has it then.
    fn commit(&self, engine: &Engine, group: Group) {
        let attempts = engine.write_group(&group.drafts);
        drop(group.drafts);
        let synced = engine.sync();
        // Before the answers, so that whoever gets one finds the room that it has left.
        lock(&self.state).bytes -= group.bytes;
        if synced.is_err() {
            return;
        }
        // Whoever stopped waiting has its write in the log all the same.
        for (writer, attempt) in group.writers.into_iter().zip(attempts) {
            let _ = writer.send(attempt);
        }
        for waiter in group.waiters {
            let _ = waiter.send(());
        }
    }

    /// Everybody who waits, once there is somebody; `None` after the stop when nobody is left.
    ///
    /// The writers of the last group usually come back at once with their next write. So that the
    /// first of them does not get a sync of its own that the others then wait for, as many as
    /// `expected` are waited for, but not beyond `patience`.
    fn gather(&self, expected: usize, patience: Duration) -> Option<Group> {
        let mut state = lock(&self.state);
        let until = Instant::now() + patience;
        state.wanted = expected;
        while state.group.len() < state.wanted && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                state = self.sleep(state, left);
            } else if state.group.len() > 0 {
                break;
            } else {
                state.wanted = 1;
                let woken = self.wake.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.over = state.group.len() == 0;
        (!state.over).then(|| take(&mut state.group))
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
