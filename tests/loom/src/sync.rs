//! The locks, atomics and clock of the library's `sync`, under loom.

use std::{
    cell::Cell,
    ops::{Add, Deref, DerefMut},
    sync::{LockResult, PoisonError},
    time::Duration,
};

pub(crate) use loom::sync::atomic;
pub(crate) use real_tokio::sync::oneshot;

thread_local! {
    /// The time of the clock, and the time that passes with each look at it.
    static TIME: Cell<(Duration, Duration)> = const { Cell::new((Duration::ZERO, Duration::ZERO)) };
}

/// Sets the clock to zero. `step` passes with each look at it. With a step of zero, nothing times out, so a lost
/// wakeup is a deadlock, which loom reports.
pub(crate) fn set_clock(step: Duration) {
    TIME.set((Duration::ZERO, step));
}

/// Lets the time of four looks at the clock pass.
pub(crate) fn pass() {
    advance(TIME.get().1 * 4);
}

/// Lets time pass.
pub(crate) fn advance(time: Duration) {
    let (now, step) = TIME.get();
    TIME.set((now + time, step));
}

/// A moment of the clock. All threads of a model run on one thread of the system, so they share the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        let (now, step) = TIME.get();
        TIME.set((now + step, step));
        Self(now)
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0 - self.0
    }

    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

/// A mutex whose guard knows it, for [`Condvar::wait_timeout`].
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

pub(crate) struct MutexGuard<'m, T> {
    /// `None` while it waits.
    guard: Option<loom::sync::MutexGuard<'m, T>>,
    mutex: &'m Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Locks a mutex. No thread of a model panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    let guard = Some(mutex.0.lock().unwrap());
    MutexGuard { guard, mutex }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().unwrap()
    }
}

#[derive(Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<'m, T>(
        &self,
        mut guard: MutexGuard<'m, T>,
    ) -> LockResult<MutexGuard<'m, T>> {
        let woken = self.0.wait(guard.guard.take().unwrap());
        guard.guard = Some(woken.unwrap());
        Ok(guard)
    }

    /// Waits. Times out after one turn of the other threads if the clock moves, otherwise never.
    pub(crate) fn wait_timeout<'m, T>(
        &self,
        guard: MutexGuard<'m, T>,
        _: Duration,
    ) -> LockResult<(MutexGuard<'m, T>, ())> {
        if TIME.get().1.is_zero() {
            let woken = self.wait(guard).unwrap_or_else(PoisonError::into_inner);
            return Ok((woken, ()));
        }
        let mutex = guard.mutex;
        drop(guard);
        loom::thread::yield_now();
        Ok((lock(mutex), ()))
    }

    pub(crate) fn wait_timeout_while<'m, T>(
        &self,
        mut guard: MutexGuard<'m, T>,
        time: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'m, T>, ())> {
        while condition(&mut guard) {
            (guard, ()) = self
                .wait_timeout(guard, time)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok((guard, ()))
    }
}
