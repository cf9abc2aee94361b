//! The future that stores the changes of a request.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Instant,
};

use super::{
    plan::{end_commit, first_explicit_step, first_write_step},
    queue::{CommitQueues, JobReply, QueueEntry, Turn, Work},
    step::{CommitStep, MergedRecord, Rollback, StepResult},
};
use crate::{
    completion::panic_after_completion,
    id::{SessionId, StoreKey},
    session::{
        Event, Session, SessionError, SizeLimit,
        state::{Changes, IdStatus, Phase, SessionState, StoredRecord},
        trace::{OperationEnd, OperationTrace},
    },
    store::{Record, StoreError, WriteOutcome},
    sync::lock,
};

/// The future of [`Session::commit`], and of the commit at the end of every request.
///
/// If it is dropped before it is ready, each record is stored whole or not at all, and the changes
/// may be stored or not. Changes and commits of the session then fail with
/// [`Committed`](SessionError::Committed), and the commit at the end of the request fails too.
///
/// It panics if it is polled after completion.
#[must_use = "a commit is made when this is awaited"]
pub struct Commit {
    pub(super) session: Session,
    step: CommitStep,
    /// Number of writes that conflicted with another request.
    pub(super) conflicts: u32,
    /// Time at which the commit stops retrying, once there was a conflict.
    deadline: Option<Instant>,
    /// The changes of this commit, once they are not those of the state any more: from the start of an
    /// explicit commit, or after a conflict.
    pub(super) changes: Option<Box<Changes>>,
    /// The record that a regeneration wrote last, if that contains changes of other requests.
    pub(super) merged: Option<Box<MergedRecord>>,
    /// The session's new id, under which the changes are being stored. Another request rotated it.
    rotated: Option<SessionId>,
    /// No other commit of this process writes the old record meanwhile.
    pub(super) turn: Option<Turn>,
    /// A record is stored.
    written: bool,
    /// This is the commit at the end of the request.
    pub(super) is_final: bool,
    is_completed: bool,
    abandon: AbandonGuard,
    /// The outcome of the last step, unless a record is stored.
    outcome: &'static str,
    trace: OperationTrace,
}

impl fmt::Debug for Commit {
    /// Hides the changes and the records of the steps, because they contain the visitor's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit")
            .field("session", &self.session)
            .field("conflicts", &self.conflicts)
            .finish_non_exhaustive()
    }
}

/// Records that an explicit commit was dropped, or failed, with an unknown outcome. Contains the state while that
/// is in the phase `Committing` of this commit.
#[derive(Debug)]
struct AbandonGuard(Option<Arc<Mutex<SessionState>>>);

impl AbandonGuard {
    /// Disarms the guard if the commit has ended its phase. Another commit may begin as soon as the state is not locked.
    fn update(&mut self, state: &SessionState) {
        if state.phase() != Phase::Committing {
            self.0 = None;
        }
    }
}

impl Drop for AbandonGuard {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            lock(state).abandon_commit();
        }
    }
}

impl Future for Commit {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_completed {
            panic_after_completion("Commit");
        }
        let committed = ready!(self.poll_steps(cx));
        self.is_completed = true;
        (self.turn, self.abandon) = (None, AbandonGuard(None));
        Poll::Ready(committed)
    }
}

impl Commit {
    /// Creates a commit of the changes made so far.
    pub(in crate::session) fn new(session: Session) -> Self {
        let trace = OperationTrace::commit(&session.engine);
        Self::build(session, CommitStep::Plan, false, trace)
    }

    /// Creates the final commit of a request, whose first step has been planned.
    pub(super) fn from_step(
        session: Session,
        step: CommitStep,
        trace: Option<OperationTrace>,
    ) -> Self {
        let trace = trace.unwrap_or_else(|| OperationTrace::commit(&session.engine));
        Self::build(session, step, true, trace)
    }

    fn build(session: Session, step: CommitStep, is_final: bool, trace: OperationTrace) -> Self {
        Self {
            session,
            step,
            conflicts: 0,
            deadline: None,
            changes: None,
            merged: None,
            rotated: None,
            turn: None,
            written: false,
            is_final,
            is_completed: false,
            abandon: AbandonGuard(None),
            outcome: "unchanged",
            trace,
        }
    }

    /// Runs the steps to the last one.
    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let _entered = self.trace.enter();
        while !matches!(self.step, CommitStep::Done) {
            let next = ready!(self.poll_step(cx));
            self.step = match next.or_else(|error| self.on_error(error)) {
                Ok(step) => step,
                Err(error) => {
                    self.end_trace(error.outcome());
                    return Poll::Ready(Err(error));
                }
            };
        }
        let is_lost = self.session.state().id_status().is_lost();
        self.end_trace(match self.outcome {
            "unchanged" if is_lost => "dropped",
            _ if self.written && !is_lost => "stored",
            outcome => outcome,
        });
        self.complete();
        Poll::Ready(Ok(()))
    }

    fn end_trace(&mut self, outcome: &'static str) {
        let end = OperationEnd {
            outcome,
            attempts: self.conflicts + 1,
            bytes: self.session.state().data().text().len(),
        };
        self.trace.end(&end);
    }

    /// Waits for the current step and returns the next step.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<StepResult> {
        Poll::Ready(match &mut self.step {
            CommitStep::Plan => self.plan(),
            CommitStep::Failing(error) => Err((**error).clone()),
            CommitStep::Touching(renewal) => {
                let renewed = ready!(renewal.poll(cx));
                let apply = |state: &mut SessionState| renewal.apply(state, renewed);
                let next = self.session.with_events(apply);
                self.outcome = "renewed";
                Ok(next.map_or(CommitStep::Done, CommitStep::Touching))
            }
            CommitStep::Destroying(destroy, key) => {
                let (destroyed, key) = (ready!(Pin::new(destroy).poll(cx)), *key);
                self.on_destroyed(destroyed, key)
            }
            &mut CommitStep::Joining(key) => self.on_joining(key),
            CommitStep::Writing(write, key) => {
                let (written, key) = (ready!(Pin::new(write).poll(cx)), *key);
                self.on_written(written, key)
            }
            CommitStep::Waiting(ticket, key) => {
                let (reply, key) = (ready!(Pin::new(ticket).poll(cx)), *key);
                self.on_reply(reply, key)
            }
            CommitStep::Fencing(fence, key) => {
                let (fenced, key) = (ready!(Pin::new(fence).poll(cx)), *key);
                self.on_fenced(fenced, key)
            }
            CommitStep::Following(read, key) => {
                let (read, key) = (ready!(Pin::new(read).poll(cx)), *key);
                Ok(self.on_followed(read, key))
            }
            CommitStep::BackingOff(delay, record, key) => {
                ready!(Pin::new(delay).poll(cx));
                let (record, key) = (record.clone(), *key);
                self.on_backed_off(&record, key)
            }
            CommitStep::Reading(read, key) => {
                let (read, key) = (ready!(Pin::new(read).poll(cx)), *key);
                self.on_read(read, key)
            }
            CommitStep::Updating(write, stored, key) => {
                let written = ready!(Pin::new(write).poll(cx));
                let (stored, key) = (stored.clone(), *key);
                self.on_updated(written, *stored, key)
            }
            _ => return self.poll_last_step(cx),
        })
    }

    /// Waits for a step in which the session gets its new id or keeps the old one.
    fn poll_last_step(&mut self, cx: &mut Context<'_>) -> Poll<StepResult> {
        Poll::Ready(match &mut self.step {
            CommitStep::DestroyingOld(destroy, key) => {
                let (destroyed, key) = (ready!(Pin::new(destroy).poll(cx)), *key);
                self.on_old_destroyed(destroyed, key)
            }
            CommitStep::Withdrawing(write, key, reason) => {
                let withdrawn = ready!(Pin::new(write).poll(cx));
                let (key, reason) = (*key, reason.clone());
                self.on_withdrawn(withdrawn, key, *reason)
            }
            CommitStep::RollingBack(destroy, reason) => {
                let (destroyed, reason) = (ready!(Pin::new(destroy).poll(cx)), reason.clone());
                self.on_rolled_back(destroyed, reason)
            }
            _ => Ok(CommitStep::Done),
        })
    }

    /// Plans an explicit commit. The final commit begins without this future.
    fn plan(&mut self) -> StepResult {
        let mut state = self.session.state();
        // If another commit is running, it has its own guard.
        let may_begin = state.phase() == Phase::Open;
        let step = first_explicit_step(&mut state, &self.session.engine, &self.session.writer);
        // The first step may fail too.
        let is_running = may_begin && state.phase() == Phase::Committing;
        self.abandon = AbandonGuard(is_running.then(|| Arc::clone(&self.session.state)));
        step
    }

    /// Continues after the session was destroyed. `destroyed` is `true` if its event was not yet emitted.
    fn on_destroyed(&mut self, destroyed: Result<bool, StoreError>, key: StoreKey) -> StepResult {
        let engine = &*self.session.engine;
        if destroyed? {
            engine.emit(&Event::Destroyed { key });
        }
        self.outcome = "destroyed";
        let mut state = self.session.state();
        state.on_destroyed(engine);
        let step = first_write_step(&mut state, engine, self.is_final);
        self.abandon.update(&state);
        step
    }

    fn on_written(
        &mut self,
        written: Result<WriteOutcome, StoreError>,
        key: StoreKey,
    ) -> StepResult {
        let written = match written {
            // Nothing was stored, but an earlier write has stored the new record.
            Err(error) if error.too_large().is_some() => return self.on_refused(error.into(), key),
            written => written?,
        };
        match written {
            WriteOutcome::Done(version) => {
                self.written = true;
                let engine = &*self.session.engine;
                self.session.state().on_stored(engine, version);
                self.fence(key)
            }
            WriteOutcome::Conflict(record) if self.is_regenerating() => {
                self.on_new_changed(&record)
            }
            WriteOutcome::Conflict(record) => self.on_conflict(record, key),
            WriteOutcome::Gone if self.merged.is_some() => Ok(self.on_new_gone(key)),
            WriteOutcome::Gone => Ok(self.on_gone()),
        }
    }

    /// Joins the queue of the session: another request has written the record first.
    fn on_conflict(&mut self, record: Record, key: StoreKey) -> StepResult {
        self.conflicts += 1;
        self.join_with_changes(key, Some(record))
    }

    /// Joins the queue of the session under its new id, which a rotation gave it meanwhile.
    pub(super) fn follow(&mut self, id: SessionId, changes: Box<Changes>) -> StepResult {
        let key = id.store_key();
        // Commits under the old id need not wait for the queue of the new one.
        self.turn = None;
        self.rotated = Some(id);
        self.changes = Some(changes);
        self.join_with_changes(key, None)
    }

    /// Joins the queue that exists before the first write of this commit.
    fn on_joining(&mut self, key: StoreKey) -> StepResult {
        let regeneration = self.session.state().regeneration();
        match regeneration {
            Some(old) => self.join(
                old.from,
                key,
                self.turn_to_wait_for(),
                QueueEntry::First(None),
            ),
            None => self.join_with_changes(key, None),
        }
    }

    /// Joins the queue of the session, so that its worker stores the changes. Changes that run functions of
    /// the user wait for a turn instead, because those run on the request's own task. `newest` is the newest
    /// record that is known.
    pub(super) fn join_with_changes(
        &mut self,
        key: StoreKey,
        newest: Option<Record>,
    ) -> StepResult {
        let changes = self.take_changes();
        let work = if changes.has_updates() {
            self.changes = Some(changes);
            self.turn_to_wait_for()
        } else {
            Work::Store(changes)
        };
        self.join(key, key, work, QueueEntry::First(newest))
    }

    /// Returns the work of a job that waits for a turn. The changes stay in memory meanwhile.
    pub(super) fn turn_to_wait_for(&self) -> Work {
        let state_size = || self.session.state().changes_size();
        let bytes = self
            .changes
            .as_ref()
            .map_or_else(state_size, |it| it.size());
        Work::Turn { bytes }
    }

    /// Joins the queue of the session under `queue`.
    pub(super) fn join(
        &mut self,
        queue: StoreKey,
        key: StoreKey,
        work: Work,
        entry: QueueEntry,
    ) -> StepResult {
        let deadline = self.deadline();
        let joined = CommitQueues::join(&self.session.engine, queue, work, deadline, entry);
        joined
            .map(|ticket| CommitStep::Waiting(ticket, key))
            .map_err(|(work, reason)| {
                if let Work::Store(changes) = work {
                    self.changes = Some(changes);
                }
                SessionError::Contention(reason)
            })
    }

    fn on_reply(&mut self, reply: Result<JobReply, SessionError>, key: StoreKey) -> StepResult {
        match reply {
            Ok(JobReply::Stored(stored)) => {
                self.adopt(stored)?;
                Ok(CommitStep::Done)
            }
            Ok(JobReply::Forwarded(id, changes)) => self.follow(id, changes),
            Ok(JobReply::Lost(IdStatus::Destroyed)) => Ok(self.on_gone()),
            Ok(JobReply::Lost(status)) => Ok(self.drop_changes(status)),
            Ok(JobReply::Turn(turn)) => {
                self.turn = Some(turn);
                self.on_turn(key)
            }
            Ok(JobReply::Rejoin(work)) => {
                let queue = match (&work, self.session.state().regeneration()) {
                    (Work::Turn { .. }, Some(old)) => old.from,
                    _ => key,
                };
                self.join(queue, key, work, QueueEntry::Again)
            }
            Ok(JobReply::Refused(error, changes)) => {
                self.changes = changes.or_else(|| self.changes.take());
                self.on_refused(error, key)
            }
            Err(error) => self.on_refused(error, key),
        }
    }

    /// Ends a wait that failed. If a regeneration has written its new record, destroys that first.
    fn on_refused(&self, error: SessionError, key: StoreKey) -> StepResult {
        match self.merged {
            Some(_) => Ok(self.roll_back(key, Rollback::Failed(error))),
            None => Err(error),
        }
    }

    /// Makes a record that contains changes of other requests the session's record.
    pub(super) fn adopt(&mut self, stored: StoredRecord) -> Result<(), SessionError> {
        self.written = true;
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        if let Some(id) = self.rotated.take() {
            state.follow(id, stored.lifetime);
        }
        state.on_adopted(engine, &stored);
        if self.is_final {
            return Ok(());
        }
        let mut later = state.later_edits(engine, stored.record)?;
        loop {
            // Changes made since may run functions of the user.
            drop(state);
            let rebased = later.rebase(engine);
            state = self.session.state();
            if state.install(engine, &mut later, rebased) {
                return Ok(());
            }
        }
    }

    /// Returns the changes of this commit.
    pub(super) fn take_changes(&mut self) -> Box<Changes> {
        self.changes.take().unwrap_or_else(|| {
            let mut state = self.session.state();
            state
                .take_pending_changes()
                .unwrap_or_else(|| state.take_changes())
        })
    }

    /// Returns the time at which the commit stops retrying.
    pub(super) fn deadline(&mut self) -> Instant {
        let timeout = self.session.engine.policy.commit_timeout;
        *self
            .deadline
            .get_or_insert_with(|| Instant::now() + timeout)
    }

    /// Drops the changes: the store holds no session under the key any more.
    pub(super) fn on_gone(&self) -> CommitStep {
        self.drop_changes(IdStatus::Destroyed)
    }

    /// Drops the changes: another request destroyed or regenerated the session.
    pub(super) fn drop_changes(&self, status: IdStatus) -> CommitStep {
        self.session.with_events(|state| {
            let old = state.regeneration().map(|old| old.from);
            if let Some(key) = old.or_else(|| state.key()) {
                let reason = match status {
                    IdStatus::Regenerated => "the session was given a new id",
                    _ => "the session was destroyed, expired or evicted",
                };
                state.queue(&self.session.engine, Event::WriteDropped { key, reason });
            }
            state.on_lost(status);
        });
        CommitStep::Done
    }

    /// Returns the error to fail with, or `Done` if the policy is to drop the changes.
    fn on_error(&mut self, error: SessionError) -> StepResult {
        if !self.is_running() {
            // The commit was not begun. The state may be that of another commit.
            return Err(error);
        }
        let (error, is_reopened) = self.recover(error);
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let drops = self.is_final && engine.policy.drops_after(&error);
        let reason = match &error {
            SessionError::Contention(_) if !is_reopened => "too many requests changed the session",
            SessionError::TooLarge {
                exceeded: SizeLimit::Document,
                ..
            } if !is_reopened => {
                "the session exceeds `limits.document` with changes of other requests"
            }
            SessionError::TooLarge { .. } if drops => "the session is too large for its store",
            SessionError::Conflict { .. } if drops => {
                "a change did not fit a change of another request"
            }
            _ => "",
        };
        // Read the key first: the event must name the dropped session, not the restored one.
        let key = state.key();
        if drops {
            state.drop_final_changes();
        }
        drop(state);
        if let (SessionError::Conflict { path, .. }, Some(key)) = (&error, key) {
            engine.emit(&Event::Conflict { key, path });
        }
        let error = engine.report(key, error);
        if let (false, Some(key)) = (reason.is_empty(), key) {
            engine.emit(&Event::WriteDropped { key, reason });
        }
        if drops {
            self.outcome = "dropped";
            Ok(CommitStep::Done)
        } else {
            Err(error)
        }
    }

    /// Prepares the state for what the handler may do after an error. Returns the error with details, and `true` if the
    /// next commit stores the changes.
    fn recover(&mut self, error: SessionError) -> (SessionError, bool) {
        let limit = match &error {
            SessionError::Store(error) => error.too_large(),
            _ => None,
        };
        let mut state = self.session.state();
        let is_refused = limit.is_some() || error.is_too_large() || error.is_contention();
        // The data lacks stored changes of other requests.
        let is_stale = state.conflict().is_some();
        let mut is_reopened = false;
        if is_refused && !self.written && !is_stale {
            // Nothing was stored.
            let changes = self.changes.take();
            if let Some(changes) = changes.or_else(|| state.take_pending_changes())
                && let Err(error) = state.restore_changes(*changes)
            {
                return (error, false);
            }
            is_reopened = state.reopen();
        } else if (is_stale || error.is_conflict())
            && state.regeneration().is_none()
            && state.unload(&error)
            && let Some(key) = state.key()
        {
            let reason = "they were made during a commit that was refused";
            state.queue(&self.session.engine, Event::WriteDropped { key, reason });
        }
        self.abandon.update(&state);
        let error = limit.map_or(error, |limit| state.too_large(limit));
        self.session.unlock(state);
        (error, is_reopened)
    }

    /// Returns `true` if the session is in the phase of this commit, not of another one.
    fn is_running(&self) -> bool {
        self.is_final || self.abandon.0.is_some()
    }

    fn complete(&mut self) {
        if !self.is_running() {
            return;
        }
        let engine = &*self.session.engine;
        let end = |state: &mut SessionState| {
            end_commit(state, engine, self.conflicts, self.is_final);
            self.abandon.update(state);
        };
        self.session.with_events(end);
    }
}
