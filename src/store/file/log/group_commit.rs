//! Group commit: concurrent writers share one append and one sync.

use std::{
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    engine::FileEngine,
    write::{PendingWrite, WriteReply},
};
use crate::{
    store::file::error::FileError,
    sync::{
        Condvar, Instant, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

/// Upper bound of the time for which a group waits for more writers, however slow the disk was.
pub(crate) const MAX_LINGER: Duration = Duration::from_millis(50);

/// Returns the time to wait for the writers of the last group, whose commit took `time`.
pub(crate) fn linger_after(time: Duration) -> Duration {
    MAX_LINGER.min(time / 2)
}

/// Minimum capacity of a waiter list.
const MIN_WAITERS: usize = 16;

/// Adds `waiter` to the list.
///
/// Before the list grows, waiters whose receivers were dropped are removed. The list therefore takes
/// at most about twice the memory of the live waiters, at constant cost on average.
pub(crate) fn push_waiter<T>(waiters: &mut Vec<oneshot::Sender<T>>, waiter: oneshot::Sender<T>) {
    if waiters.len() == waiters.capacity() {
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.reserve(waiters.len().max(MIN_WAITERS));
    }
    waiters.push(waiter);
}

/// Sends `value` to a receiver, which may have been dropped. Catches the panic of a waker, which belongs to a user.
pub(crate) fn send<T>(sender: oneshot::Sender<T>, value: T) {
    let _panicked = catch_unwind(AssertUnwindSafe(|| drop(sender.send(value))));
}

/// Items whose destructors or wakers belong to a user. Each is dropped on its own, and its panic is caught. A second
/// panic while the first one unwinds would abort the process.
pub(crate) struct UserItems<T>(pub(crate) Vec<T>);

impl<T> Drop for UserItems<T> {
    fn drop(&mut self) {
        for item in take(&mut self.0) {
            let _panicked = catch_unwind(AssertUnwindSafe(|| drop(item)));
        }
    }
}

/// The writers that wait for the disk. A thread runs [`run_always`](Self::run_always) or
/// [`run_interval`](Self::run_interval).
#[derive(Default)]
pub(crate) struct GroupCommit {
    state: Mutex<GroupCommitState>,
    condvar: Condvar,
    /// A frame was appended since the last sync began.
    dirty: AtomicBool,
}

#[derive(Default)]
struct GroupCommitState {
    /// The group that the next commit takes.
    group: CommitGroup,
    /// Memory of all pending writes, including those in progress and those whose futures were
    /// dropped.
    pending_bytes: usize,
    /// The size of the group at which the thread wakes up.
    wake_at: usize,
    stop: bool,
    /// The thread has ended, so new writers are not answered.
    ended: bool,
}

/// The writers that share the next sync.
#[derive(Default)]
struct CommitGroup {
    /// Writes that are not appended yet.
    writes: Vec<PendingWrite>,
    /// Memory of these writes.
    bytes: usize,
    /// The receivers of the writes' replies, in the same order.
    writers: Vec<oneshot::Sender<Result<WriteReply, FileError>>>,
    /// Mutations that are appended and wait only for the sync.
    waiters: Vec<oneshot::Sender<()>>,
}

/// A receiver that completes once everything appended before is durable, and fails if the sync fails.
pub(crate) type SyncReceiver = oneshot::Receiver<()>;

/// A receiver that completes once the write is rejected, or executed and durable.
pub(crate) type WriteReceiver = oneshot::Receiver<Result<WriteReply, FileError>>;

/// Ends the work of the thread on drop, also after a panic. No writer waits for a thread that has ended.
///
/// After a panic, syncs once. Otherwise no thread would sync what was appended before, and readers would not see it.
struct CommitThreadGuard<'a>(&'a GroupCommit, &'a FileEngine);

impl Drop for CommitThreadGuard<'_> {
    fn drop(&mut self) {
        let Self(group_commit, engine) = self;
        if thread::panicking() {
            engine.log.poison_after_panic();
            // A second panic would abort the process. After it, a flush can sync.
            let _ = catch_unwind(AssertUnwindSafe(|| engine.log.sync()));
        }
        let mut state = lock(&group_commit.state);
        state.ended = true;
        state.pending_bytes = 0;
        let group = take(&mut state.group);
        drop(state);
        drop(group);
    }
}

impl Drop for CommitGroup {
    fn drop(&mut self) {
        drop(UserItems(take(&mut self.writes)));
        drop(UserItems(take(&mut self.writers)));
        drop(UserItems(take(&mut self.waiters)));
    }
}

impl CommitGroup {
    const fn len(&self) -> usize {
        self.writers.len() + self.waiters.len()
    }
}

impl GroupCommit {
    /// Returns the bytes of the writes that wait for the disk.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        lock(&self.state).pending_bytes as u64
    }

    /// Returns a receiver for the end of the next sync.
    pub(crate) fn wait_for_sync(&self) -> SyncReceiver {
        let (sender, receiver) = oneshot::channel();
        let state = lock(&self.state);
        self.join_group(state, |state| push_waiter(&mut state.group.waiters, sender));
        receiver
    }

    /// Adds `write` to the next group.
    pub(crate) fn write(
        &self,
        engine: &FileEngine,
        write: PendingWrite,
    ) -> Result<WriteReceiver, FileError> {
        let (sender, receiver) = oneshot::channel();
        let bytes = write.memory_len();
        let state = lock(&self.state);
        engine.check_backlog(state.pending_bytes, bytes)?;
        self.join_group(state, |state| {
            state.pending_bytes += bytes;
            state.group.bytes += bytes;
            state.group.writes.push(write);
            state.group.writers.push(sender);
        });
        Ok(receiver)
    }

    fn join_group(
        &self,
        mut state: MutexGuard<'_, GroupCommitState>,
        join: impl FnOnce(&mut GroupCommitState),
    ) {
        if state.ended {
            return;
        }
        join(&mut state);
        if state.group.len() == state.wake_at {
            self.condvar.notify_one();
        }
    }

    /// Records that a frame was appended that must be synced within the interval.
    pub(crate) fn mark_dirty(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            drop(lock(&self.state));
            self.condvar.notify_one();
        }
    }

    /// Stops the thread after it has committed the waiting writers.
    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.condvar.notify_all();
    }

    /// Runs the thread for [`Durability::Always`](crate::store::file::Durability::Always): commits one
    /// group after the other until it is stopped.
    pub(crate) fn run_always(&self, engine: &FileEngine) {
        // After a panic, it is dropped after the guard, so that its waiters see the guard's sync.
        let mut group;
        let _guard = CommitThreadGuard(self, engine);
        let (mut expected, mut linger) = (1, Duration::ZERO);
        while let Some(next) = self.next_group(expected, linger) {
            group = next;
            let (began, members) = (Instant::now(), group.len());
            expected = members + self.commit(engine, &mut group);
            // Drops the receivers that were not answered.
            drop(group);
            linger = linger_after(began.elapsed());
        }
    }

    /// Appends the group's writes, syncs, and answers if that succeeded. Returns the number of writers that came
    /// meanwhile.
    fn commit(&self, engine: &FileEngine, group: &mut CommitGroup) -> usize {
        let replies = engine.write_group(&group.writes);
        // The data may belong to the user, whose destructor may panic.
        drop(UserItems(take(&mut group.writes)));
        let synced = engine.log.sync();
        // Before the answers, so that a writer that was answered can write again, and is not counted here.
        let mut state = lock(&self.state);
        state.pending_bytes -= group.bytes;
        let arrived = state.group.len();
        drop(state);
        if synced.is_err() {
            return arrived;
        }
        // A receiver may have been dropped; its write is in the log all the same.
        for (writer, reply) in take(&mut group.writers).into_iter().zip(replies) {
            send(writer, reply);
        }
        for waiter in take(&mut group.waiters) {
            send(waiter, ());
        }
        arrived
    }

    /// Waits for writers and returns the group; returns `None` after the stop if it is empty.
    ///
    /// The writers of the last group usually write again at once. The group therefore waits until they and those
    /// that came during the commit are its members, `expected` in all, but at most for `linger`. Otherwise the
    /// first writer would get a sync of its own, and the others would wait for it.
    fn next_group(&self, expected: usize, linger: Duration) -> Option<CommitGroup> {
        let mut state = lock(&self.state);
        let deadline = Instant::now() + linger;
        state.wake_at = expected;
        while state.group.len() < state.wake_at && !state.stop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if !remaining.is_zero() {
                state = self.sleep(state, remaining);
            } else if state.group.len() > 0 {
                break;
            } else {
                state.wake_at = 1;
                let woken = self.condvar.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.ended = state.group.len() == 0;
        (!state.ended).then(|| take(&mut state.group))
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, GroupCommitState>,
        time: Duration,
    ) -> MutexGuard<'a, GroupCommitState> {
        let slept = self.condvar.wait_timeout(state, time);
        slept.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Runs the thread for [`Durability::Interval`](crate::store::file::Durability::Interval): syncs
    /// at most `interval` after the first append since the last sync.
    pub(crate) fn run_interval(&self, engine: &FileEngine, interval: Duration) {
        let _guard = CommitThreadGuard(self, engine);
        let mut state = lock(&self.state);
        while !state.stop {
            if !self.dirty.load(Ordering::Acquire) {
                let woken = self.condvar.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let deadline = Instant::now() + interval;
            while !state.stop {
                let remaining = deadline.saturating_duration_since(Instant::now());
                if remaining.is_zero() {
                    break;
                }
                state = self.sleep(state, remaining);
            }
            drop(state);
            self.dirty.store(false, Ordering::Release);
            // A failure poisons the store, which reports it to writers and to the listener.
            let _ = engine.log.sync();
            state = lock(&self.state);
        }
    }
}
