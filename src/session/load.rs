//! The future that loads a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{Session, SessionError, state::Phase, trace::Span};
use crate::store::{ReadOutcome, StoreFuture};

/// The future of [`Session::load`] and [`Session::load_read_only`].
///
/// If it is dropped before it is ready, the session stays unloaded and can be loaded again.
#[derive(Debug)]
#[must_use = "a session is loaded when this is awaited"]
pub struct Load<'a> {
    session: &'a Session,
    read_only: bool,
    reading: Option<StoreFuture<ReadOutcome>>,
    span: Span,
}

impl<'a> Load<'a> {
    pub(super) fn new(session: &'a Session, read_only: bool) -> Self {
        Self {
            session,
            read_only,
            reading: None,
            span: Span::load(),
        }
    }
}

impl<'a> Future for Load<'a> {
    type Output = Result<&'a Session, SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.span.enter();
        let engine = &*this.session.engine;
        // Locked during this poll only, never while the task waits.
        let mut state = this.session.state();
        if this.reading.is_none() {
            match state.begin_load(engine, this.read_only) {
                Ok(None) => return Poll::Ready(Ok(this.session)),
                Ok(reading) => this.reading = reading,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let Some(reading) = &mut this.reading else {
            return Poll::Pending;
        };
        let read = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        if state.phase() != Phase::Unloaded {
            // Another task of this request has loaded the session. Its result counts.
            return Poll::Ready(state.readable().map(|_| this.session));
        }
        let loaded = state.finish_load(engine, read, this.read_only);
        Poll::Ready(loaded.map(|()| this.session))
    }
}
