//! The future of a store operation.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::StoreError;

/// The future of a store operation: ready from the start, or boxed.
///
/// A store that answers from memory returns [`ready`](Self::ready), which allocates nothing and never
/// suspends. A store that does I/O wraps an `async` block with [`new`](Self::new). The block must own
/// its data, so the store clones its pool or its inner `Arc` into it.
///
/// Dropping the future before it completes discards the result but does not undo the work. A write
/// that was sent may still be applied, entirely or not at all.
///
/// ```
/// use hyper_session::store::{StoreError, StoreFuture};
///
/// fn known() -> StoreFuture<bool> {
///     StoreFuture::ready(Ok(true))
/// }
///
/// fn slow() -> StoreFuture<bool> {
///     StoreFuture::new(async { Err(StoreError::new("my store", "touch", "no route to host")) })
/// }
/// ```
#[must_use = "a store operation has completed only after its future was awaited"]
pub struct StoreFuture<T>(Inner<T>);

enum Inner<T> {
    Ready(Option<Result<T, StoreError>>),
    Boxed(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>),
}

impl<T> StoreFuture<T> {
    /// Returns a future that is ready with `result`.
    pub const fn ready(result: Result<T, StoreError>) -> Self {
        Self(Inner::Ready(Some(result)))
    }

    /// Returns a boxed future that runs `work`.
    pub fn new(work: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self(Inner::Boxed(Box::pin(work)))
    }

    /// Returns the result if it is known without a poll.
    pub(crate) fn into_result(self) -> Result<Result<T, StoreError>, Self> {
        match self.0 {
            Inner::Ready(Some(result)) => Ok(result),
            pending => Err(Self(pending)),
        }
    }
}

impl<T: Unpin> Future for StoreFuture<T> {
    type Output = Result<T, StoreError>;

    /// Polls the operation. A [`ready`](Self::ready) future that was polled before stays pending, like
    /// a fused future.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            Inner::Boxed(work) => work.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for StoreFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Ready(_) => "StoreFuture::Ready",
            Inner::Boxed(_) => "StoreFuture::Boxed",
        })
    }
}
