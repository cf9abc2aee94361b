//! The future that loads a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{Session, SessionError, state::Phase, trace::Span};
use crate::{
    completion::panic_after_completion,
    store::{ReadOutcome, StoreFuture},
};

/// The future of [`Session::load`] and [`Session::load_read_only`].
///
/// If it is dropped before it is ready, the session stays unloaded and can be loaded again.
///
/// It panics if it is polled after completion.
#[derive(Debug)]
#[must_use = "a session is loaded when this is awaited"]
pub struct Load<'a> {
    session: &'a Session,
    read_only: bool,
    reading: Option<StoreFuture<ReadOutcome>>,
    is_completed: bool,
    span: Span,
}

impl<'a> Load<'a> {
    pub(super) fn new(session: &'a Session, read_only: bool) -> Self {
        Self {
            session,
            read_only,
            reading: None,
            is_completed: false,
            span: Span::load(),
        }
    }
}

impl<'a> Future for Load<'a> {
    type Output = Result<&'a Session, SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.is_completed {
            panic_after_completion("Load");
        }
        let loaded = ready!(this.poll_load(cx));
        this.is_completed = true;
        Poll::Ready(loaded.map(|()| this.session))
    }
}

impl Load<'_> {
    fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let _entered = self.span.enter();
        let engine = &*self.session.engine;
        // Locked during this poll only, never while the task waits.
        let mut state = self.session.state();
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match state.begin_load(engine, self.read_only)? {
                Some(reading) => reading,
                None => return Poll::Ready(Ok(())),
            },
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        if state.phase() != Phase::Unloaded {
            // Another task of this request has loaded the session. Its result counts.
            return Poll::Ready(state.readable().map(drop));
        }
        Poll::Ready(state.finish_load(engine, read, self.read_only))
    }
}
