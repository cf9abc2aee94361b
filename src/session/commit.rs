//! Storing what a request did: nothing, a touch, a write, a move or an end, decided in one place.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    Event, Session, SessionError,
    engine::Engine,
    state::{Fate, Move, Phase, State, decode},
};
use bytes::Bytes;

use crate::{
    document::Document,
    id::Key,
    store::{Expected, Record, StoreError, StoreFuture, Written},
};

/// The future of [`Session::commit`], and the last part of every request.
///
/// Dropped half way, the changes may be stored or not, each record whole; the session then answers
/// [`Committed`](SessionError::Committed) to further changes.
#[derive(Debug)]
#[must_use = "a commit is made when this is awaited"]
pub struct Commit {
    session: Session,
    step: Step,
    attempts: u32,
    /// What the write that is under way writes.
    draft: Draft,
    tagged: usize,
    /// The request is over: no change can follow.
    last: bool,
}

#[derive(Debug, Default)]
struct Draft {
    flash: Document,
    /// Kept only where further changes can follow: they start from it.
    record: Option<Bytes>,
    keep: bool,
}

#[derive(Debug)]
enum Step {
    /// Look at the state and decide.
    Decide,
    Touching(StoreFuture<bool>),
    /// The session that this request ended goes.
    Ending(StoreFuture<()>, Key),
    Writing(StoreFuture<Written>, Key),
    /// The new record stands; its tags follow.
    MovingTags(StoreFuture<()>, Key),
    /// The old record becomes a fence, unless somebody wrote there meanwhile.
    Fencing(StoreFuture<Written>, Key),
    /// The session ended elsewhere while it moved here: the new record has to go too.
    Discarding(StoreFuture<()>, Fate),
    Tagging(Option<Tagging>, Key),
    Done,
}

impl Session {
    /// Stores the changes made so far, now. What is changed afterwards is stored by the next commit.
    /// The service commits by itself when the handler has answered; call this where the changes must
    /// be stored before something else happens.
    ///
    /// # Errors
    /// When the store fails (whether the changes were applied is then unknown), or other requests
    /// changed the session too often. Changes that were dropped because the session had ended
    /// meanwhile are not an error; see [`Event::WriteDropped`].
    pub fn commit(&self) -> Commit {
        Commit::new(self.clone(), false)
    }
}

impl Future for Commit {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let next = match &mut this.step {
                Step::Done => {
                    this.finish();
                    return Poll::Ready(Ok(()));
                }
                Step::Decide => this.decide(),
                Step::Touching(touch) => {
                    let touched = ready!(Pin::new(touch).poll(cx));
                    this.touched(touched)
                }
                Step::Ending(end, key) => {
                    let (ended, key) = (ready!(Pin::new(end).poll(cx)), *key);
                    this.ended(ended, key)
                }
                Step::Writing(write, key) => {
                    let (written, key) = (ready!(Pin::new(write).poll(cx)), *key);
                    this.written(written, key)
                }
                Step::MovingTags(moving, key) => {
                    let (moved, key) = (ready!(Pin::new(moving).poll(cx)), *key);
                    moved.map_err(Into::into).and_then(|()| this.fence(key))
                }
                Step::Fencing(fence, key) => {
                    let (fenced, key) = (ready!(Pin::new(fence).poll(cx)), *key);
                    this.fenced(fenced, key)
                }
                Step::Discarding(end, fate) => {
                    let (ended, fate) = (ready!(Pin::new(end).poll(cx)), *fate);
                    ended.map_err(Into::into).map(|()| this.drop_changes(fate))
                }
                Step::Tagging(tag, key) => {
                    let key = *key;
                    let tagged = tag.as_mut().map_or(Poll::Ready(Ok(())), |tag| tag.poll(cx));
                    ready!(tagged)
                        .map_err(Into::into)
                        .map(|()| this.next_tag(key))
                }
            };
            match next {
                Ok(step) => this.step = step,
                Err(error) => return Poll::Ready(Err(this.session.engine.report(error))),
            }
        }
    }
}

#[derive(Debug)]
enum Tagging {
    /// A session that ended meanwhile is not there to be tagged, and need not be.
    Add(StoreFuture<bool>),
    Remove(StoreFuture<()>),
}

impl Tagging {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        match self {
            Self::Add(add) => Pin::new(add).poll(cx).map_ok(drop),
            Self::Remove(remove) => Pin::new(remove).poll(cx),
        }
    }
}

type Next = Result<Step, SessionError>;

impl Commit {
    pub(super) fn new(session: Session, last: bool) -> Self {
        let draft = Draft {
            keep: !last,
            ..Draft::default()
        };
        Self {
            session,
            step: Step::Decide,
            attempts: 0,
            draft,
            tagged: 0,
            last,
        }
    }

    pub(crate) fn into_session(self) -> Session {
        self.session
    }

    fn decide(&mut self) -> Next {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        match state.phase {
            Phase::Untouched if self.last && engine.policy.enabled => {
                return Ok(state.renewal(engine).map_or(Step::Done, Step::Touching));
            }
            Phase::Untouched => return Err(SessionError::NotLoaded),
            Phase::ReadOnly | Phase::Failed | Phase::Closed => return Ok(Step::Done),
            Phase::Committing => return Err(SessionError::Committed),
            Phase::Open => state.phase = Phase::Committing,
        }
        match state.ending {
            Some(key) => Ok(Step::Ending(engine.store.destroy(&key), key)),
            None => write_or_tag(engine, &mut state, &mut self.draft),
        }
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
            // The next request will try again; this one did nothing that could be lost.
            Err(error) => drop(engine.report(error.into())),
        }
        Ok(Step::Done)
    }

    fn ended(&mut self, ended: Result<(), StoreError>, key: Key) -> Next {
        ended?;
        let engine = &*self.session.engine;
        engine.tell(&Event::Destroyed { key });
        let mut state = self.session.state();
        state.ending = None;
        write_or_tag(engine, &mut state, &mut self.draft)
    }

    fn written(&mut self, written: Result<Written, StoreError>, key: Key) -> Next {
        let engine = &*self.session.engine;
        match written? {
            Written::Done(version) => {
                let mut state = self.session.state();
                state.version = Some(version);
                state.identity.note_stored();
                match (state.moving, engine.store.tags()) {
                    (Some(Move { from, .. }), Some(tags)) => {
                        Ok(Step::MovingTags(tags.move_tags(&from, &key), key))
                    }
                    (Some(_), None) => {
                        drop(state);
                        self.fence(key)
                    }
                    (None, _) => Ok(Step::Tagging(None, key)),
                }
            }
            Written::Conflict(record) => self.merge(record, key),
            Written::Gone => Ok(self.drop_changes(Fate::Ended)),
        }
    }

    /// Another request wrote first: this request's operations go on top of what it wrote.
    fn merge(&mut self, record: Record, key: Key) -> Next {
        let engine = &*self.session.engine;
        let newer = decode(engine, &record.data)?;
        if newer.moved {
            return Ok(self.drop_changes(Fate::Moved));
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
        write(engine, &mut state, &mut self.draft, key)
    }

    fn fence(&mut self, key: Key) -> Next {
        let engine = &*self.session.engine;
        let state = self.session.state();
        let Some(Move { from, version }) = state.moving else {
            return Ok(Step::Tagging(None, key));
        };
        let expected = version.map_or(Expected::Absent, Expected::Version);
        let fence = engine.format.fence();
        Ok(Step::Fencing(
            engine
                .store
                .write(&from, fence, engine.policy.fence, expected),
            key,
        ))
    }

    fn fenced(&mut self, fenced: Result<Written, StoreError>, key: Key) -> Next {
        let engine = &*self.session.engine;
        let fate = match fenced? {
            Written::Done(_) => {
                if let Some(Move { from, .. }) = self.session.state().moving.take() {
                    engine.tell(&Event::Migrated { from, to: key });
                }
                return Ok(Step::Tagging(None, key));
            }
            Written::Gone => Fate::Ended,
            Written::Conflict(record) => {
                let newer = decode(engine, &record.data)?;
                if !newer.moved {
                    return self.catch_up(record, newer, key);
                }
                Fate::Moved
            }
        };
        Ok(Step::Discarding(engine.store.destroy(&key), fate))
    }

    /// Another request wrote under the old id while the session moved: its changes move along.
    fn catch_up(&mut self, record: Record, newer: crate::wire::Contents, key: Key) -> Next {
        let engine = &*self.session.engine;
        self.attempts += 1;
        if self.attempts >= engine.policy.max_attempts {
            return Err(SessionError::Contention {
                attempts: self.attempts,
            });
        }
        let mut state = self.session.state();
        state.rebase(engine, newer)?;
        if let Some(moving) = &mut state.moving {
            moving.version = Some(record.version);
        }
        write(engine, &mut state, &mut self.draft, key)
    }

    fn next_tag(&mut self, key: Key) -> Step {
        let engine = &*self.session.engine;
        let state = self.session.state();
        let (Some(tags), Some((tag, add))) = (engine.store.tags(), state.tags.get(self.tagged))
        else {
            return Step::Done;
        };
        self.tagged += 1;
        Step::Tagging(
            Some(if *add {
                Tagging::Add(tags.tag(&key, tag))
            } else {
                Tagging::Remove(tags.untag(&key, tag))
            }),
            key,
        )
    }

    /// The session ended or moved on while this request ran: its changes are not stored.
    fn drop_changes(&mut self, fate: Fate) -> Step {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        let key = state
            .moving
            .map(|moving| moving.from)
            .or_else(|| state.identity.key());
        if let Some(key) = key {
            let reason = match fate {
                Fate::Moved => "the session moved to another id",
                _ => "the session was destroyed",
            };
            engine.tell(&Event::WriteDropped { key, reason });
        }
        state.fate = fate;
        state.version = None;
        state.phase = Phase::Closed;
        Step::Done
    }

    fn finish(&mut self) {
        let engine = &*self.session.engine;
        let mut state = self.session.state();
        if state.phase == Phase::Committing {
            if let (true, Some(key)) = (state.version.is_some(), state.identity.key()) {
                if self.attempts > 0 {
                    engine.tell(&Event::ConflictResolved {
                        key,
                        attempts: self.attempts,
                    });
                }
                engine.tell(&Event::Committed { key });
            }
            state.committed(std::mem::take(&mut self.draft));
            state.phase = Phase::Open;
        }
        if self.last {
            state.phase = Phase::Closed;
        }
    }
}

impl State {
    /// The touch that keeps an unopened session alive, where it is due.
    fn renewal(&mut self, engine: &Engine) -> Option<StoreFuture<bool>> {
        let now = engine.clock.now();
        let worth_a_look = match engine.policy.cookie {
            super::CookiePolicy::Rolling => true,
            super::CookiePolicy::WhenUsed => self.identity.claims_due(engine, now),
        };
        if !worth_a_look {
            return None;
        }
        self.identity.look_up(engine);
        let key = self.identity.key().filter(|_| self.identity.carried)?;
        let due = engine.is_renewal_due(self.identity.renewed, now);
        due.then(|| engine.store.touch(&key, engine.policy.time_to_live()))
    }

    pub(super) fn renewal_found_nothing(&mut self, engine: &Engine) {
        if engine.policy.cookie == super::CookiePolicy::Rolling {
            self.identity.renew(engine.clock.now());
        }
    }

    /// The changes are stored: further ones start from there.
    fn committed(&mut self, draft: Draft) {
        if self.needs_write() {
            self.base = draft.record;
            self.flash.committed(draft.flash);
        }
        self.patch.reset();
        self.tags.clear();
    }
}

fn write_or_tag(engine: &Engine, state: &mut State, draft: &mut Draft) -> Next {
    if state.needs_write() {
        let (_, key) = *state.identity.ensure()?;
        return write(engine, state, draft, key);
    }
    match state.identity.key() {
        Some(key) if state.version.is_some() => Ok(Step::Tagging(None, key)),
        _ => Ok(Step::Done),
    }
}

fn write(engine: &Engine, state: &mut State, draft: &mut Draft, key: Key) -> Next {
    let now = engine.clock.now();
    draft.flash = state.flash.outgoing()?;
    let record = engine
        .format
        .encode(state.created, &state.data, &draft.flash);
    draft.record = draft.keep.then(|| record.clone());
    let expected = state.version.map_or(Expected::Absent, Expected::Version);
    let ttl = engine.time_to_live(state.created, now);
    Ok(Step::Writing(
        engine.store.write(&key, record, ttl, expected),
        key,
    ))
}
