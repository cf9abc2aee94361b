//! The part of a runtime and of its timers that the library uses.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use loom::{future::block_on, thread};

thread_local! {
    static STATE: Cell<RuntimeState> = const { Cell::new(RuntimeState::Runs) };
}

/// The state of the runtime in a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeState {
    Runs,
    /// There is no runtime.
    Absent,
    /// It drops the tasks that it gets.
    Ended,
}

pub(crate) fn set_runtime(state: RuntimeState) {
    STATE.set(state);
}

/// A runtime whose tasks are threads of the model.
#[derive(Clone)]
pub(crate) struct Handle;

impl Handle {
    pub(crate) fn try_current() -> Result<Self, ()> {
        (STATE.get() != RuntimeState::Absent)
            .then_some(Self)
            .ok_or(())
    }

    pub(crate) fn spawn(
        &self,
        task: impl Future<Output = ()> + 'static,
    ) -> Option<thread::JoinHandle<()>> {
        (STATE.get() != RuntimeState::Ended).then(|| thread::spawn(|| block_on(task)))
    }
}

/// Lets other threads run.
pub(crate) async fn yield_now() {
    thread::yield_now();
}

/// Never ends.
pub(crate) async fn sleep(_: Duration) {
    pending().await
}

/// A timer. A pause of less than a second is over after a turn of the other threads. Timeouts never end.
pub(crate) struct Delay(Duration);

impl Delay {
    pub(crate) const fn new(time: Duration) -> Self {
        Self(time)
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 >= Duration::from_secs(1) {
            return Poll::Pending;
        }
        thread::yield_now();
        Poll::Ready(())
    }
}

/// Fills a buffer. The numbers need not be random in a model.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Infallible> {
    bytes.fill(1);
    Ok(())
}
