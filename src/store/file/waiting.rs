//! Those who wait for something, without those who have stopped waiting.

use tokio::sync::oneshot::Sender;

/// What a list begins with.
const FEW: usize = 16;

/// Puts `waiter` on the list. Whenever that would have to grow, those whose receivers were dropped
/// are taken off first, so it takes memory for about twice as many as wait, and the work is
/// constant on average.
pub(super) fn enlist<T>(waiters: &mut Vec<Sender<T>>, waiter: Sender<T>) {
    if waiters.len() == waiters.capacity() {
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.reserve(waiters.len().max(FEW));
    }
    waiters.push(waiter);
}
