//! The renewal of a session that the handler did not load.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
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
    engine: Arc<Engine>,
    /// The store has answered, or the time is over.
    has_ended: bool,
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if !self.has_ended {
            self.pending.lookup.release_touch(&self.engine);
        }
    }
}

impl Renewal {
    /// Starts a renewal, if one is due.
    pub(super) fn begin(state: &mut SessionState, engine: &Arc<Engine>) -> Option<Self> {
        let pending = state.begin_renewal(engine)?;
        Some(Self::new(pending, None, engine))
    }

    fn new(pending: PendingRead, deadline: Option<Delay>, engine: &Arc<Engine>) -> Self {
        Self {
            pending: Box::new(pending),
            deadline,
            engine: Arc::clone(engine),
            has_ended: false,
        }
    }

    /// Waits for the result, until the timeout. A renewal that timed out may have been applied, so the
    /// next one is due after the touch interval, unless it corrects a wrong time to live.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<ReadOutcome, StoreError>, TouchTimeout>> {
        let read = match Pin::new(&mut self.pending.reading).poll(cx) {
            Poll::Ready(read) => Ok(read),
            Poll::Pending => {
                let timeout = self.engine.policy.touch_timeout;
                // This timer needs no runtime.
                let deadline = self.deadline.get_or_insert_with(|| Delay::new(timeout));
                ready!(Pin::new(deadline).poll(cx));
                Err(TouchTimeout(timeout))
            }
        };
        self.has_ended = true;
        Poll::Ready(read)
    }

    /// Applies the result. A failure is reported and does not fail the request. Returns the renewal that
    /// follows, if the record was touched with the wrong time to live.
    pub(super) fn apply(
        &mut self,
        state: &mut SessionState,
        renewed: Result<Result<ReadOutcome, StoreError>, TouchTimeout>,
    ) -> Option<Self> {
        let engine = &self.engine;
        let next = match renewed {
            Ok(read) => state.finish_renewal(engine, &self.pending.lookup, read),
            Err(timeout) => {
                let error = StoreError::new("session", "touch", timeout);
                drop(state.report(engine, error.into()));
                None
            }
        };
        next.map(|pending| Self::new(pending, self.deadline.take(), engine))
    }
}

/// The store did not answer a touch in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}, the limit for a session that was not loaded; see `touch_timeout`")]
pub(super) struct TouchTimeout(Duration);
