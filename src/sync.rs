//! Locks that ignore poisoning.
//!
//! A standard lock is poisoned when a thread panics while it holds the lock. Use these helpers only
//! for data that is consistent between any two statements that can panic.
//!
//! `tests/loom` compiles some modules with its own locks, atomics and clock under the names of this module.
#![allow(
    dead_code,
    unused_imports,
    reason = "the set of callers depends on the features"
)]

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    time::Instant,
};

/// Locks `mutex`, poisoned or not.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks `lock` for shared reading, poisoned or not.
pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks `lock` for exclusive writing, poisoned or not.
pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the value of `mutex`, poisoned or not.
pub(crate) fn get_mut<T: ?Sized>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}
