//! Running a call to its end, at as little cost of its own as there can be.

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

/// Makes this thread one that may spawn, which some contenders do. Hold it while calls run.
pub fn enter() -> EnterGuard<'static> {
    RUNTIME.enter()
}

/// The future's output. One that is ready at once costs one poll; the runtime waits for the rest.
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
