//! Opening a session: the one await of a request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    Event, OnStoreFailure, Session, SessionError,
    engine::Engine,
    state::{IdStatus, Phase, State, decode_into},
    trace::Span,
};
use crate::{
    clock::Timestamp,
    store::{ReadOutcome, Record, StoreFuture},
};

/// The future of [`Session::load`] and [`Session::load_read_only`].
///
/// Dropped before it is ready, the session stays closed and can be loaded again.
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
        // Held for this poll only, never while the task waits.
        let mut state = this.session.state();
        if this.reading.is_none() {
            match state.begin(engine, this.read_only) {
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
        if state.phase != Phase::Unloaded {
            // Another task of this request was faster; its answer is as good.
            return Poll::Ready(state.readable().map(|_| this.session));
        }
        let opened = match read {
            Ok(read) => state.take_over(engine, read, this.read_only),
            Err(error) => Err(error.into()),
        };
        Poll::Ready(match opened {
            Ok(()) => Ok(this.session),
            Err(error) => state.refuse(engine, error).map(|()| this.session),
        })
    }
}

impl State {
    /// Starts the read, or opens at once what needs none.
    fn begin(
        &mut self,
        engine: &Engine,
        read_only: bool,
    ) -> Result<Option<StoreFuture<ReadOutcome>>, SessionError> {
        match self.phase {
            Phase::Unloaded => {}
            Phase::Open | Phase::ReadOnly => return Ok(None),
            Phase::Failed => return Err(SessionError::NotLoaded),
            Phase::Committing | Phase::Closed => return Err(SessionError::Committed),
        }
        if !engine.policy.enabled {
            self.phase = Phase::ReadOnly;
            return Ok(None);
        }
        self.accessed = true;
        self.patch.set_limits(engine.policy.limits);
        let now = engine.clock.now();
        self.created = now;
        self.identity.look_up(engine);
        // An id that was made here a moment ago is in no store.
        let Some(key) = self.identity.key().filter(|_| self.identity.carried) else {
            self.open(engine, read_only, true)?;
            return Ok(None);
        };
        let due = engine.is_renewal_due(self.identity.renewed, now);
        let touch = due.then(|| engine.policy.time_to_live());
        Ok(Some(self.store(engine).read(&key, touch)))
    }

    /// Makes the store's answer the session.
    fn take_over(
        &mut self,
        engine: &Engine,
        read: ReadOutcome,
        read_only: bool,
    ) -> Result<(), SessionError> {
        // The session was asked for at the moment that `begin` noted. Whether a renewal is due must
        // be answered as it was then: the store was told.
        let now = self.created;
        match read {
            ReadOutcome::Found(record) => {
                return self.take_over_record(engine, record, now, read_only);
            }
            ReadOutcome::Gone => self.lose_id(IdStatus::Stale),
            ReadOutcome::Absent => {
                let age = now.duration_since(self.identity.renewed);
                if self.identity.stored || age > engine.policy.time_to_live() {
                    self.lose_id(IdStatus::Stale);
                } else if engine.is_renewal_due(self.identity.renewed, now) {
                    self.renewal_found_nothing(engine);
                }
            }
        }
        self.open(engine, read_only, true)
    }

    fn take_over_record(
        &mut self,
        engine: &Engine,
        record: Record,
        now: Timestamp,
        read_only: bool,
    ) -> Result<(), SessionError> {
        let head = decode_into(engine, &record.data, &mut self.data, &mut self.flash.stored)?;
        let lived = now.duration_since(head.created);
        if head.is_fence {
            self.lose_id(IdStatus::Regenerated);
            return self.open(engine, read_only, true);
        }
        if engine
            .policy
            .absolute_timeout
            .is_some_and(|lifetime| lived >= lifetime)
        {
            self.ending = self.identity.key();
            self.lose_id(IdStatus::Stale);
            return self.open(engine, read_only, true);
        }
        if engine.is_renewal_due(self.identity.renewed, now) {
            self.identity.renew(now);
        }
        self.identity.note_stored();
        self.adopt(record, head.created, read_only)?;
        self.open(engine, read_only, false)
    }

    /// The id that the request carried is dead: the next one to ask gets a new one.
    fn lose_id(&mut self, fate: IdStatus) {
        self.identity.abandon();
        self.forget_contents();
        self.fate = fate;
    }

    fn open(&mut self, engine: &Engine, read_only: bool, fresh: bool) -> Result<(), SessionError> {
        self.phase = if read_only {
            Phase::ReadOnly
        } else {
            Phase::Open
        };
        if !engine.listeners.is_empty() {
            let key = self.identity.ensure_key()?;
            engine.emit(&Event::Initiated { key, fresh });
        }
        Ok(())
    }

    /// The session cannot be opened: what happens then is the policy's choice.
    fn refuse(&mut self, engine: &Engine, error: SessionError) -> Result<(), SessionError> {
        let error = engine.report(error);
        match engine.policy.on_store_failure {
            OnStoreFailure::ReadOnly if error.is_store_failure() => {
                self.forget_contents();
                self.fate = IdStatus::Regenerated;
                self.phase = Phase::ReadOnly;
                Ok(())
            }
            _ => {
                self.phase = Phase::Failed;
                Err(error)
            }
        }
    }
}
