//! The future that loads a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    Session, SessionError,
    state::{LoadMode, PendingRead, Phase, SessionState},
    trace::Span,
};
use crate::completion::panic_after_completion;

/// The future of [`Session::load`] and [`Session::load_read_only`].
///
/// If it is dropped before it is ready, the session stays unloaded and can be loaded again.
///
/// It panics if it is polled after completion.
#[derive(Debug)]
#[must_use = "a session is loaded when this is awaited"]
pub struct Load<'a> {
    session: &'a Session,
    mode: LoadMode,
    reading: Option<PendingRead>,
    is_completed: bool,
    span: Span,
}

impl<'a> Load<'a> {
    pub(super) fn new(session: &'a Session, mode: LoadMode) -> Self {
        Self {
            session,
            mode,
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
        // Locked during this poll only, never while the task waits.
        this.session
            .with_events(|state| this.poll_locked(state, cx))
    }
}

impl<'a> Load<'a> {
    fn poll_locked(
        &mut self,
        state: &mut SessionState,
        cx: &mut Context<'_>,
    ) -> Poll<Result<&'a Session, SessionError>> {
        let this = self;
        let _entered = this.span.enter();
        let engine = &*this.session.engine;
        loop {
            let Some((key, reading)) = &mut this.reading else {
                match state.begin_load(engine, this.mode) {
                    Ok(Some(reading)) => this.reading = Some(reading),
                    begun => {
                        this.is_completed = true;
                        return Poll::Ready(begun.map(|_| this.session));
                    }
                }
                continue;
            };
            let read = ready!(Pin::new(reading).poll(cx));
            if state.phase() != Phase::Unloaded {
                // Another task of this request has loaded the session. Its result counts.
                this.is_completed = true;
                return Poll::Ready(state.readable().map(|_| this.session));
            }
            // Another task may have found that this id is dead. Begin again with the next one.
            this.reading = match state.key() == Some(*key) {
                false => None,
                true => match state.finish_load(engine, read, this.mode) {
                    Ok(Some(next)) => Some(next),
                    loaded => {
                        this.is_completed = true;
                        return Poll::Ready(loaded.map(|_| this.session));
                    }
                },
            };
        }
    }
}
