//! The renewal of a session that the handler did not load.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_timer::Delay;

use crate::{
    session::{
        engine::Engine,
        state::{PendingRead, SessionState},
    },
    store::{ReadOutcome, StoreError},
};

/// A read that touches the record, with a time limit. The response does not need its result.
#[derive(Debug)]
pub(super) struct Renewal {
    /// Boxed, to keep a commit small.
    pending: Box<PendingRead>,
    /// The time limit, once the store did not answer at once.
    deadline: Option<Delay>,
    timeout: Duration,
}

impl Renewal {
    /// Starts a renewal, if one is due.
    pub(super) fn begin(state: &mut SessionState, engine: &Engine) -> Option<Self> {
        let timeout = engine.policy.touch_timeout;
        Some(Self {
            pending: Box::new(state.begin_renewal(engine)?),
            deadline: None,
            timeout,
        })
    }

    /// Waits for the result, until the timeout. A renewal that timed out may have been applied, so the
    /// next one is due after the touch interval, unless it corrects a wrong time to live.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<ReadOutcome, StoreError>, TouchTimeout>> {
        if let Poll::Ready(read) = Pin::new(&mut self.pending.reading).poll(cx) {
            return Poll::Ready(Ok(read));
        }
        // This timer needs no runtime.
        let deadline = self
            .deadline
            .get_or_insert_with(|| Delay::new(self.timeout));
        ready!(Pin::new(deadline).poll(cx));
        Poll::Ready(Err(TouchTimeout(self.timeout)))
    }

    /// Applies the result. A failure is reported and does not fail the request. Returns the renewal that
    /// follows, if the record was touched with the wrong time to live.
    pub(super) fn apply(
        &mut self,
        state: &mut SessionState,
        engine: &Engine,
        renewed: Result<Result<ReadOutcome, StoreError>, TouchTimeout>,
    ) -> Option<Self> {
        let next = match renewed {
            Ok(read) => state.finish_renewal(engine, &self.pending.lookup, read),
            Err(timeout) => {
                let error = StoreError::new("session", "touch", timeout);
                drop(state.report(engine, error.into()));
                None
            }
        };
        next.map(|pending| Self {
            pending: Box::new(pending),
            deadline: self.deadline.take(),
            timeout: self.timeout,
        })
    }
}

/// The store did not answer a touch in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}, the limit for a session that was not loaded; see `touch_timeout`")]
pub(super) struct TouchTimeout(Duration);
