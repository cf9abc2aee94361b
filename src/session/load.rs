//! The future that loads a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_timer::Delay;

use super::{
    ReadOnlyReason, Session, SessionError,
    state::{LoadMode, Lookup, PendingRead, Phase, SessionState},
    trace::{OperationEnd, OperationTrace},
};
use crate::{
    completion::panic_after_completion,
    store::{ReadOutcome, StoreError},
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
    mode: LoadMode,
    reading: Option<PendingRead>,
    /// The time limit of the look-ups of several ids, once the store did not answer one at once.
    deadline: Option<Delay>,
    is_completed: bool,
    /// `None` after a load by another task.
    trace: Option<OperationTrace>,
    /// Number of reads.
    attempts: u32,
}

impl<'a> Load<'a> {
    pub(super) fn new(session: &'a Session, mode: LoadMode) -> Self {
        Self {
            session,
            mode,
            reading: None,
            deadline: None,
            is_completed: false,
            trace: None,
            attempts: 0,
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
        let engine = &*self.session.engine;
        if self.trace.is_none() && state.phase() == Phase::Unloaded {
            self.trace = Some(OperationTrace::load(engine));
        }
        let _entered = self.trace.as_ref().map(OperationTrace::enter);
        let loaded = loop {
            let (lookup, read) = match self.reading.take() {
                None => match state.begin_load(engine, self.mode) {
                    Ok(Some(PendingRead { reading, lookup })) => {
                        self.attempts = self.attempts.max(1);
                        match reading.into_result() {
                            // No other task had the lock since the read began.
                            Ok(read) => (lookup, read),
                            Err(reading) => {
                                self.reading = Some(PendingRead { reading, lookup });
                                continue;
                            }
                        }
                    }
                    loaded => break loaded.map(drop),
                },
                Some(mut pending) => {
                    let read = self.poll_read(&mut pending, state.is_id_ambiguous(), cx);
                    let Poll::Ready(read) = read else {
                        self.reading = Some(pending);
                        return Poll::Pending;
                    };
                    let lookup = pending.lookup;
                    match state.phase() {
                        // Another task may have found that the id is dead, or stored the session. Begin again.
                        Phase::Unloaded if !state.is_current(&lookup) => {
                            self.begin_again(&lookup, read.is_ok());
                            continue;
                        }
                        Phase::Unloaded => (lookup, read),
                        _ => match state.finish_later_load(engine, &lookup, self.mode) {
                            Ok(Some(next)) => {
                                self.continue_with(next);
                                continue;
                            }
                            loaded => break loaded.map(drop),
                        },
                    }
                }
            };
            match state.finish_load(engine, &lookup, read, self.mode) {
                Ok(Some(next)) => self.continue_with(next),
                loaded => break loaded.map(drop),
            }
        };
        self.is_completed = true;
        self.end_trace(state, loaded.is_ok());
        Poll::Ready(loaded.map(|()| self.session))
    }

    fn continue_with(&mut self, next: PendingRead) {
        self.attempts += 1;
        self.reading = Some(next);
    }

    /// Records that the result of a read is not used.
    fn begin_again(&mut self, lookup: &Lookup, was_read: bool) {
        self.attempts += 1;
        if !was_read {
            lookup.release_touch(&self.session.engine);
        }
    }

    /// Waits for the read. If it looks up one of several ids, at most until the time limit.
    fn poll_read(
        &mut self,
        pending: &mut PendingRead,
        is_limited: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReadOutcome, StoreError>> {
        match Pin::new(&mut pending.reading).poll(cx) {
            Poll::Pending if is_limited => {
                let timeout = self.session.engine.policy.commit_timeout;
                poll_deadline(&mut self.deadline, timeout, cx).map(Err)
            }
            read => read,
        }
    }

    fn end_trace(&mut self, state: &SessionState, is_ok: bool) {
        if let Some(trace) = &mut self.trace {
            let end = OperationEnd {
                outcome: outcome(state, is_ok),
                attempts: self.attempts,
                bytes: state.data().text().len(),
            };
            trace.end(&end);
        }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if let Some(unanswered) = &self.reading {
            unanswered.lookup.release_touch(&self.session.engine);
        }
    }
}

/// Returns the outcome of a load in spans and metrics.
fn outcome(state: &SessionState, is_ok: bool) -> &'static str {
    match state.phase() {
        _ if !is_ok => "failed",
        Phase::ReadOnly(ReadOnlyReason::StoreFailed) => "unavailable",
        Phase::ReadOnly(ReadOnlyReason::Disabled) => "disabled",
        _ if state.version().is_some() => "found",
        _ => "new",
    }
}

/// Waits for the time limit of the look-ups, and returns their error. The first call starts it.
fn poll_deadline(
    deadline: &mut Option<Delay>,
    timeout: Duration,
    cx: &mut Context<'_>,
) -> Poll<StoreError> {
    // This timer needs no runtime.
    let deadline = deadline.get_or_insert_with(|| Delay::new(timeout));
    let error = || StoreError::new("session", "read", LookupTimeout(timeout));
    Pin::new(deadline).poll(cx).map(|()| error())
}

/// The store did not answer the look-ups of several ids in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "no answer within {0:?}, the limit for a request with several session cookies; raise \
     `commit_timeout`"
)]
struct LookupTimeout(Duration);
