//! Runs a call to its end with minimal overhead.

use std::{
    future::Future,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use tokio::runtime::{Builder, EnterGuard, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a current-thread runtime can be built")
});

/// Enters the runtime, since some contenders spawn tasks. Keep the guard while calls run.
pub fn enter() -> EnterGuard<'static> {
    RUNTIME.enter()
}

/// Runs a future and returns its output. A future that is ready at once costs one poll; the runtime
/// runs any other.
pub fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => RUNTIME.block_on(future),
    }
}
