//! Storing what a request did: nothing, a touch, a write, a move or an end, decided in one place.

mod finish;
mod plan;
mod regenerate;
mod step;
mod too_large;
mod touch;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

pub(crate) use self::finish::{FinalCommit, SessionFailure, SessionOutcome};
pub(in crate::session) use self::plan::PendingBase;
use self::step::{Next, Rollback, Step, TagChange};
use crate::session::{
    Event, OnTooLarge, Session, SessionError,
    state::{IdStatus, Phase, Regeneration, decode},
    trace::Span,
};
use crate::{
    id::StoreKey,
    store::{Record, StoreError, WriteOutcome},
};

/// The future of [`Session::commit`], and the last part of every request.
///
/// Dropped half way, the changes may be stored or not, each record whole; the session then answers
/// [`Committed`](SessionError::Committed) to further changes.
#[derive(Debug)]
#[must_use = "a commit is made when this is awaited"]
pub struct Commit {
    pub(in crate::session) session: Session,
    step: Step,
    pub(in crate::session) attempts: u32,
    pub(in crate::session) tagged: usize,
    /// The record stands: tags come before the write where there was one, and after it elsewhere.
    written: bool,
    /// The request is over: no change can follow.
    pub(in crate::session) last: bool,
    span: Span,
}

impl Session {
    /// Stores the changes made so far, now. What is changed afterwards is stored by the next commit.
    /// The service commits by itself when the handler has answered; call this where the changes must
    /// be stored before something else happens.
    ///
    /// What this has stored is told to the browser by the response, whatever its status, a new id
    /// above all; also by the 503 or 500 that replaces it where a later commit fails. A handler that
    /// ends in an error of its own instead of a response has nothing that could tell it: after a
    /// [`regenerate`](Self::regenerate) the visitor is left with an id that is dead.
    ///
    /// # Errors
    /// When the store fails (whether the changes were applied is then unknown), or other requests
    /// changed the session too often. Changes that were dropped because the session had ended
    /// meanwhile are not an error; see [`Event::WriteDropped`].
    pub fn commit(&self) -> Commit {
        Commit::new(self.clone(), Step::Decide, false)
    }
}

impl Future for Commit {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.span.enter();
        while !matches!(this.step, Step::Done) {
            let next = ready!(this.poll_step(cx));
            this.step = next.or_else(|error| this.failed(error))?;
        }
        this.finish();
        Poll::Ready(Ok(()))
    }
}

impl Commit {
    /// What comes after the step that is waited for, once it is done.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        Poll::Ready(match &mut self.step {
            Step::Done => Ok(Step::Done),
            Step::Decide => self.decide(),
            Step::Touching(touch) => {
                let touched = ready!(Pin::new(touch).poll(cx));
                self.touched(touched)
            }
            Step::Destroying(end, key) => {
                let (ended, key) = (ready!(Pin::new(end).poll(cx)), *key);
                self.ended(ended, key)
            }
            Step::Creating(claim, key) => {
                let (claimed, key) = (ready!(Pin::new(claim).poll(cx)), *key);
                self.claimed(claimed, key)
            }
            Step::Writing(write, key) => {
                let (written, key) = (ready!(Pin::new(write).poll(cx)), *key);
                self.written(written, key)
            }
            Step::CopyingTags(copying, key) => {
                let (copied, key) = (ready!(Pin::new(copying).poll(cx)), *key);
                self.tagged(copied, key)
            }
            Step::Fencing(fence, key) => {
                let (fenced, key) = (ready!(Pin::new(fence).poll(cx)), *key);
                self.fenced(fenced, key)
            }
            Step::DestroyingOld(end, key) => {
                let (ended, key) = (ready!(Pin::new(end).poll(cx)), *key);
                ended.map_err(Into::into).map(|()| self.buried(key))
            }
            Step::Untagging(untag, from, key) => {
                let (untagged, from, key) = (ready!(Pin::new(untag).poll(cx)), *from, *key);
                Ok(self.untagged(untagged, from, key))
            }
            Step::MovingTags(moving) => {
                let moved = ready!(Pin::new(moving).poll(cx));
                Ok(self.moved_tags(moved))
            }
            Step::RollingBack(end, why) => {
                let (ended, why) = (ready!(Pin::new(end).poll(cx)), why.clone());
                ended.map_err(Into::into).and_then(|()| self.retreat(why))
            }
            Step::UntaggingFence(strike, key) => {
                let (struck, key) = (ready!(Pin::new(strike).poll(cx)), *key);
                struck.map_err(Into::into).map(|()| self.strike(key))
            }
            Step::Tagging(tag, key) => {
                let key = *key;
                let tagged = tag.as_mut().map_or(Poll::Ready(Ok(())), |tag| tag.poll(cx));
                self.tagged(ready!(tagged), key)
            }
        })
    }

    fn new(session: Session, step: Step, last: bool) -> Self {
        Self {
            session,
            step,
            attempts: 0,
            tagged: 0,
            written: false,
            last,
            span: Span::commit(),
        }
    }

    /// The rest of a request's last commit, from `step` on.
    pub(in crate::session) fn resume(session: Session, step: Step) -> Self {
        Self::new(session, step, true)
    }

    /// What to tell the browser, once the last commit is done or has failed.
    pub(crate) fn into_outcome(self, done: Result<(), SessionError>) -> SessionOutcome {
        self.session.settle(done)
    }

    fn decide(&mut self) -> Next {
        let mut state = self.session.state();
        state.decide(&self.session.engine, self.last)
    }

    fn touched(&mut self, touched: Result<bool, StoreError>) -> Next {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        match touched {
            Ok(true) => {
                state.identity.note_stored();
                state.identity.renew(engine.clock.now());
            }
            // No record, or a dead id: nothing to keep alive, and no reason to be loud about it.
            Ok(false) => state.renewal_found_nothing(engine),
            // The next request will try again. Nothing is said of the session, whose record may not
            // live as long as a cookie that is sent now.
            Err(error) => {
                drop(engine.report(error.into()));
                state.fate = IdStatus::Regenerated;
            }
        }
        Ok(Step::Done)
    }

    fn ended(&mut self, ended: Result<(), StoreError>, key: StoreKey) -> Next {
        ended?;
        let engine = &*self.session.engine;
        engine.emit(&Event::Destroyed { key });
        let mut state = self.session.state();
        state.ending = None;
        if state.fate == IdStatus::Destroyed {
            state.note_standing();
        }
        state.write_or_tag(engine, self.last)
    }

    /// There is a record to tag, of this request or of another one.
    fn claimed(&mut self, claimed: Result<WriteOutcome, StoreError>, key: StoreKey) -> Next {
        match claimed? {
            WriteOutcome::Done(version) => {
                let mut state = self.session.state();
                state.version = Some(version);
                state.identity.note_stored();
                Ok(Step::Tagging(None, key))
            }
            refused => self.written(Ok(refused), key),
        }
    }

    fn written(&mut self, written: Result<WriteOutcome, StoreError>, key: StoreKey) -> Next {
        let engine = &*self.session.engine;
        match written? {
            WriteOutcome::Done(version) => {
                let mut state = self.session.state();
                state.version = Some(version);
                self.written = true;
                state.identity.note_stored();
                match (state.moving, state.store(engine).tags()) {
                    (Some(Regeneration { from, .. }), Some(tags)) => {
                        Ok(Step::CopyingTags(tags.copy_tags(&from, &key), key))
                    }
                    _ => Ok(Step::Tagging(None, key)),
                }
            }
            WriteOutcome::Conflict(record) => self.merge(record, key),
            WriteOutcome::Gone => Ok(self.gone()),
        }
    }

    /// Another request wrote first: this request's operations go on top of what it wrote.
    fn merge(&mut self, record: Record, key: StoreKey) -> Next {
        let engine = &*self.session.engine;
        let newer = decode(engine, &record.data)?;
        if newer.head.is_fence {
            return Ok(self.strike(key));
        }
        self.attempts += 1;
        if self.attempts >= engine.policy.max_attempts {
            self.session.state().phase = Phase::Open;
            return Err(SessionError::Contention {
                attempts: self.attempts,
            });
        }
        let mut state = self.session.state();
        state.rebase(engine, newer)?;
        state.version = Some(record.version);
        drop(state);
        // What is to be tagged is tagged before it is written, as far as that was not possible yet.
        match self.written {
            true => self.write(key),
            false => self.next_tag(key),
        }
    }

    /// The session is not there any more. A store without versions does not know whether it ended or
    /// moved; another response may carry its new id, so nothing is said to the browser.
    fn gone(&mut self) -> Step {
        let step = self.drop_changes(IdStatus::Destroyed);
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        if !state.store(engine).capabilities().conditional_writes {
            state.fate = IdStatus::Regenerated;
        }
        step
    }

    fn write(&self, key: StoreKey) -> Next {
        let engine = &*self.session.engine;
        self.session.state().write(engine, key, self.last)
    }

    /// A tag is in place, or could not be put there: then a move is given up before the old id dies.
    fn tagged(&mut self, tagged: Result<(), StoreError>, key: StoreKey) -> Next {
        match tagged {
            Ok(()) => self.next_tag(key),
            Err(error) if self.session.state().moving.is_some() => {
                Ok(self.discard(key, Rollback::Failed(error.into())))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn next_tag(&mut self, key: StoreKey) -> Next {
        let engine = &*self.session.engine;
        let state = self.session.state();
        let tags = state.store(engine).tags();
        let (Some(tags), Some((tag, add))) = (tags, state.tags.get(self.tagged)) else {
            drop(state);
            return if self.written {
                self.fence(key)
            } else {
                self.write(key)
            };
        };
        self.tagged += 1;
        let change = match add {
            true => TagChange::Add(tags.tag(&key, tag)),
            false => TagChange::Remove(tags.untag(&key, tag)),
        };
        Ok(Step::Tagging(Some(change), key))
    }

    /// Takes off the fence what was tagged there, one tag after the other, and drops the changes.
    fn strike(&mut self, key: StoreKey) -> Step {
        let engine = &*self.session.engine;
        while let Some(last) = self.tagged.checked_sub(1) {
            self.tagged = last;
            let state = self.session.state();
            if let (Some(tags), Some((tag, true))) =
                (state.store(engine).tags(), state.tags.get(last))
            {
                return Step::UntaggingFence(tags.untag(&key, tag), key);
            }
        }
        self.drop_changes(IdStatus::Regenerated)
    }

    /// The session ended or moved on while this request ran: its changes are not stored.
    pub(in crate::session) fn drop_changes(&mut self, fate: IdStatus) -> Step {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let key = state
            .moving
            .map(|moving| moving.from)
            .or_else(|| state.identity.key());
        if let Some(key) = key {
            let reason = match fate {
                IdStatus::Regenerated => "the session moved to another id",
                _ => "the session was destroyed",
            };
            engine.emit(&Event::WriteDropped { key, reason });
        }
        state.fate = fate;
        state.version = None;
        state.phase = Phase::Closed;
        Step::Done
    }

    /// The error to answer with, or the end where the policy is to answer without the changes.
    fn failed(&self, error: SessionError) -> Next {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let error = match &error {
            SessionError::Store(refused) => refused.too_large().map(|it| state.too_large(it)),
            _ => None,
        }
        .unwrap_or(error);
        let drops = error.is_too_large()
            && self.last
            && engine.policy.on_too_large == OnTooLarge::DropWrite;
        let reason = match &error {
            SessionError::Contention { .. } => "other requests changed the session too often",
            SessionError::TooLarge { .. } if drops => "the session is too large for its store",
            _ => "",
        };
        if error.is_too_large() && !self.written {
            // Nothing was stored: once it is smaller, it can be tried again.
            state.phase = Phase::Open;
        }
        // That of what is dropped, not of what is fallen back to.
        let key = state.identity.key();
        if drops {
            state.give_up_changes();
        }
        drop(state);
        let error = engine.report(error);
        if let (false, Some(key)) = (reason.is_empty(), key) {
            engine.emit(&Event::WriteDropped { key, reason });
        }
        if drops { Ok(Step::Done) } else { Err(error) }
    }

    fn finish(&mut self) {
        let mut state = self.session.state();
        state.finish(&self.session.engine, self.attempts, self.last);
    }
}
