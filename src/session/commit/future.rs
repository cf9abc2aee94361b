//! The future that stores the changes of a request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    plan::{end_commit, first_step, first_write_step, write_step},
    step::{CommitStep, StepResult},
    touch::apply_renewal,
};
use crate::{
    completion::panic_after_completion,
    id::StoreKey,
    session::{
        Event, OnTooLarge, Session, SessionError,
        state::{IdStatus, decode},
        trace::Span,
    },
    store::{Record, StoreError, WriteOutcome},
};

/// The future of [`Session::commit`], and of the commit at the end of every request.
///
/// If it is dropped before it is ready, each record is stored whole or not at all, and the changes
/// may be stored or not. Further changes of the session then fail with
/// [`Committed`](SessionError::Committed).
///
/// It panics if it is polled after completion.
#[derive(Debug)]
#[must_use = "a commit is made when this is awaited"]
pub struct Commit {
    pub(super) session: Session,
    step: CommitStep,
    /// Number of writes that conflicted with another request.
    pub(super) attempts: u32,
    /// The record is stored.
    written: bool,
    /// This is the commit at the end of the request.
    pub(super) is_final: bool,
    is_completed: bool,
    span: Span,
}

impl Future for Commit {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_completed {
            panic_after_completion("Commit");
        }
        let committed = ready!(self.poll_steps(cx));
        self.is_completed = true;
        Poll::Ready(committed)
    }
}

impl Commit {
    /// Creates a commit of the changes made so far.
    pub(in crate::session) fn new(session: Session) -> Self {
        Self::build(session, CommitStep::Plan, false)
    }

    /// Creates the final commit of a request, whose first step has been planned.
    pub(super) fn from_step(session: Session, step: CommitStep) -> Self {
        Self::build(session, step, true)
    }

    fn build(session: Session, step: CommitStep, is_final: bool) -> Self {
        Self {
            session,
            step,
            attempts: 0,
            written: false,
            is_final,
            is_completed: false,
            span: Span::commit(),
        }
    }

    /// Runs the steps to the last one.
    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let _entered = self.span.enter();
        while !matches!(self.step, CommitStep::Done) {
            let next = ready!(self.poll_step(cx));
            self.step = next.or_else(|error| self.on_error(error))?;
        }
        self.complete();
        Poll::Ready(Ok(()))
    }

    /// Waits for the current step and returns the next step.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<StepResult> {
        Poll::Ready(match &mut self.step {
            CommitStep::Done => Ok(CommitStep::Done),
            CommitStep::Plan => self.plan(),
            CommitStep::Touching(renewal) => {
                let renewed = ready!(renewal.poll(cx));
                let engine = &*self.session.engine;
                apply_renewal(&mut self.session.state(), engine, renewed);
                Ok(CommitStep::Done)
            }
            CommitStep::Destroying(destroy, key) => {
                let (destroyed, key) = (ready!(Pin::new(destroy).poll(cx)), *key);
                self.on_destroyed(destroyed, key)
            }
            CommitStep::Writing(write, key) => {
                let (written, key) = (ready!(Pin::new(write).poll(cx)), *key);
                self.on_written(written, key)
            }
            CommitStep::Fencing(fence, key) => {
                let (fenced, key) = (ready!(Pin::new(fence).poll(cx)), *key);
                self.on_fenced(fenced, key)
            }
            CommitStep::DestroyingOld(destroy, key) => {
                let (destroyed, key) = (ready!(Pin::new(destroy).poll(cx)), *key);
                self.on_old_destroyed(destroyed, key)
            }
            CommitStep::RollingBack(destroy, reason) => {
                let (destroyed, reason) = (ready!(Pin::new(destroy).poll(cx)), *reason);
                self.on_rolled_back(destroyed, reason)
            }
        })
    }

    fn plan(&self) -> StepResult {
        let mut state = self.session.state();
        first_step(&mut state, &self.session.engine, self.is_final)
    }

    fn on_destroyed(&self, destroyed: Result<(), StoreError>, key: StoreKey) -> StepResult {
        destroyed?;
        let engine = &*self.session.engine;
        engine.emit(&Event::Destroyed { key });
        let mut state = self.session.state();
        state.on_destroyed();
        first_write_step(&mut state, engine, self.is_final)
    }

    fn on_written(
        &mut self,
        written: Result<WriteOutcome, StoreError>,
        key: StoreKey,
    ) -> StepResult {
        match written? {
            WriteOutcome::Done(version) => {
                self.written = true;
                self.session.state().on_stored(version);
                self.fence(key)
            }
            WriteOutcome::Conflict(record) => self.on_conflict(record, key),
            WriteOutcome::Gone => Ok(self.on_gone()),
        }
    }

    /// Applies this request's changes to the record that another request wrote first.
    fn on_conflict(&mut self, record: Record, key: StoreKey) -> StepResult {
        let engine = &*self.session.engine;
        let newer = decode(engine, &record.data)?;
        if newer.head.is_fence {
            return Ok(self.drop_changes(IdStatus::Regenerated));
        }
        let state = self.session.state();
        let is_same = state.is_continued_by(state.version(), &newer.head);
        drop(state);
        if !is_same {
            return Ok(self.drop_changes(IdStatus::Destroyed));
        }
        self.attempts += 1;
        if self.attempts >= engine.policy.max_attempts {
            self.session.state().reopen();
            return Err(SessionError::Contention {
                attempts: self.attempts,
            });
        }
        let mut state = self.session.state();
        state.rebase(engine, newer, record.tags)?;
        state.set_version(record.version);
        write_step(&mut state, engine, key, self.is_final)
    }

    /// Drops the changes: the store holds no session under the key any more.
    fn on_gone(&self) -> CommitStep {
        self.drop_changes(IdStatus::Destroyed)
    }

    /// Drops the changes: another request destroyed or regenerated the session.
    pub(super) fn drop_changes(&self, status: IdStatus) -> CommitStep {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let key = state
            .regeneration()
            .map(|regeneration| regeneration.from)
            .or_else(|| state.key());
        if let Some(key) = key {
            let reason = match status {
                IdStatus::Regenerated => "the session was given a new id",
                _ => "the session was destroyed",
            };
            engine.emit(&Event::WriteDropped { key, reason });
        }
        state.on_lost(status);
        CommitStep::Done
    }

    /// Returns the error to fail with, or `Done` if the policy is to drop the changes.
    fn on_error(&self, error: SessionError) -> StepResult {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let error = match &error {
            SessionError::Store(error) => error.too_large().map(|limit| state.too_large(limit)),
            _ => None,
        }
        .unwrap_or(error);
        let drops = error.is_too_large()
            && self.is_final
            && engine.policy.on_too_large == OnTooLarge::DropWrite;
        let reason = match &error {
            SessionError::Contention { .. } => "other requests changed the session too often",
            SessionError::TooLarge { .. } if drops => "the session is too large for its store",
            _ => "",
        };
        if error.is_too_large() && !self.written {
            // Nothing was stored, so the handler can make the session smaller and commit again.
            state.reopen();
        }
        // Read the key first: the event must name the dropped session, not the restored one.
        let key = state.key();
        if drops {
            state.drop_final_changes();
        }
        drop(state);
        let error = engine.report(error);
        if let (false, Some(key)) = (reason.is_empty(), key) {
            engine.emit(&Event::WriteDropped { key, reason });
        }
        if drops {
            Ok(CommitStep::Done)
        } else {
            Err(error)
        }
    }

    fn complete(&self) {
        let mut state = self.session.state();
        end_commit(
            &mut state,
            &self.session.engine,
            self.attempts,
            self.is_final,
        );
    }
}
