//! The answer of a store: at once, or later.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::StoreError;

/// What every method of a [`Store`](super::Store) returns: a future that is ready from the start,
/// or a boxed one.
///
/// A store that answers from memory uses [`ready`](Self::ready), which allocates nothing and never
/// suspends. A store that does I/O wraps an `async` block with [`new`](Self::new); the block must
/// own what it uses, so a store clones its pool or its inner `Arc` into it.
///
/// Dropping the future before it is ready abandons the answer, not necessarily the work: a write
/// that was sent may still be applied, whole or not at all.
#[must_use = "the answer of a store is known, and its work sure to be done, when this is awaited"]
pub struct StoreFuture<T>(Inner<T>);

enum Inner<T> {
    Ready(Option<Result<T, StoreError>>),
    Boxed(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>),
}

impl<T> StoreFuture<T> {
    /// An answer that is known already.
    pub const fn ready(answer: Result<T, StoreError>) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    /// An answer that comes later.
    pub fn new(work: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self(Inner::Boxed(Box::pin(work)))
    }
}

impl<T: Unpin> Future for StoreFuture<T> {
    type Output = Result<T, StoreError>;

    /// Polled again after it was ready, it stays pending and wakes nobody, as a fused future would.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
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
