//! Loading the state from the store, and renewing it there.

use std::time::Duration;

use super::{IdStatus, Phase, SessionState, record::decode_into};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    session::{
        CookiePolicy, Event, OnStoreFailure, ReadOnlyReason, SessionError, engine::Engine, rotation,
    },
    store::{ReadOutcome, Record, StoreError, StoreFuture},
    wire::{DecodeError, Forward, Lifetime, RecordHead},
};

/// The purpose of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum LoadMode {
    Write,
    ReadOnly,
    /// Find out which one of several ids is alive. The session stays unloaded.
    #[allow(dead_code, reason = "only forms need it")]
    Identify,
}

/// The read of a load, with the key of the id that is looked up.
pub(in crate::session) type PendingRead = (StoreKey, StoreFuture<ReadOutcome>);

/// The touch of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadTouch {
    #[default]
    None,
    First,
    /// The first touch had the wrong time to live.
    Repeated,
}

/// The result of a read about an id of the request.
enum IdVerdict {
    /// There is a record of the session, and the state has its lifetime.
    Alive,
    /// The store has nothing, and the cookie was sealed before anything was stored.
    NeverStored,
    /// The record was touched with another time to live than that of its session, since the cookie is
    /// older than a change of it. The touch is repeated with this one.
    TouchAgain(Duration),
    /// A fence forwards to the session's new id.
    Forwarded(Box<Forward>),
    Dead(IdStatus),
}

/// Loading.
impl SessionState {
    /// Starts the read. Returns `None` if the session is loaded without one.
    pub(in crate::session) fn begin_load(
        &mut self,
        engine: &Engine,
        mode: LoadMode,
    ) -> Result<Option<PendingRead>, SessionError> {
        match self.phase {
            Phase::Unloaded => {}
            Phase::Open | Phase::ReadOnly(_) => {
                self.upgrade(mode);
                return Ok(None);
            }
            Phase::Failed => return Err(self.failure()),
            Phase::Committing | Phase::Abandoned | Phase::Closing | Phase::Closed => {
                return Err(SessionError::Committed);
            }
        }
        let now = engine.clock.now();
        self.lifetime = Lifetime::from_creation(now);
        if !engine.policy.enabled {
            self.phase = Phase::ReadOnly(ReadOnlyReason::Disabled);
            return Ok(None);
        }
        self.accessed = true;
        self.patch.set_limits(engine.policy.limits);
        self.resolve_id(engine);
        // An id that this request created is in no store, unless an explicit commit stored it.
        let is_known = self.identity.is_from_request() || self.identity.is_confirmed();
        let Some(key) = self.identity.key().filter(|_| is_known) else {
            self.open(engine, mode, true)?;
            return Ok(None);
        };
        Ok(Some(self.begin_read(engine, key, now)))
    }

    #[inline]
    fn begin_read(&mut self, engine: &Engine, key: StoreKey, now: Timestamp) -> PendingRead {
        let touch = self.identity.touch_ttl(engine, now);
        self.touch = match touch {
            Some(_) => ReadTouch::First,
            None => ReadTouch::None,
        };
        if touch.is_some() {
            // Parallel requests of the session need not touch it too.
            engine.touch_times.insert(key, now);
        }
        (key, self.store(engine).read(&key, touch))
    }

    /// Ends the load with the result of the read. If the id is dead and the request carried others,
    /// returns the read of the next one.
    pub(in crate::session) fn finish_load(
        &mut self,
        engine: &Engine,
        read: Result<ReadOutcome, StoreError>,
        mode: LoadMode,
    ) -> Result<Option<PendingRead>, SessionError> {
        let now = self.lifetime.created;
        let verdict = match read {
            Ok(outcome) => self.on_read(engine, outcome, now, mode),
            Err(error) if error.is_unreadable() => Ok(self.on_unreadable(engine)),
            Err(error) => {
                self.release_touch(engine);
                Err(error.into())
            }
        };
        let opened = match verdict {
            Ok(IdVerdict::Alive) => {
                self.confirm_id(engine, now);
                self.identity.settle();
                self.open(engine, mode, false).map(|()| None)
            }
            Ok(verdict) => self.on_other_verdict(engine, verdict, now, mode),
            Err(error) => Err(error),
        };
        opened.or_else(|error| self.on_load_error(engine, error).map(|()| None))
    }

    /// Tries the next id of the request, or begins a new session.
    fn on_other_verdict(
        &mut self,
        engine: &Engine,
        verdict: IdVerdict,
        now: Timestamp,
        mode: LoadMode,
    ) -> Result<Option<PendingRead>, SessionError> {
        if let IdVerdict::Forwarded(forward) = verdict {
            self.identity.follow(forward.id, forward.lifetime);
            let key = self.identity.ensure_key()?;
            return Ok(Some(self.begin_read(engine, key, now)));
        }
        if let IdVerdict::TouchAgain(ttl) = verdict {
            return Ok(self.touch_again(engine, ttl));
        }
        self.clear_content();
        let was_never_stored = matches!(verdict, IdVerdict::NeverStored);
        if let Some(key) = self.identity.take_next(was_never_stored) {
            self.note_death(&verdict);
            return Ok(Some(self.begin_read(engine, key, now)));
        }
        if self.identity.adopt_never_stored() {
            self.id_status = IdStatus::Alive;
            self.identity.confirm();
        } else {
            self.apply(engine, verdict, now);
        }
        self.open(engine, mode, true).map(|()| None)
    }

    /// Takes the id as the session's: there is a record of the session under it.
    #[inline]
    fn confirm_id(&mut self, engine: &Engine, now: Timestamp) {
        self.id_status = IdStatus::Alive;
        self.identity.confirm();
        self.set_cookie_lifetime(engine, self.lifetime, false);
        if self.touch != ReadTouch::None {
            self.on_touched(engine, now);
        }
    }

    #[inline(never)]
    fn on_touched(&mut self, engine: &Engine, now: Timestamp) {
        self.identity.mark_touched(now);
        if self.touch == ReadTouch::Repeated
            && let Some(key) = self.identity.key()
        {
            engine.touch_times.insert(key, now);
        }
    }

    /// Records the death of one of several ids. An end by another request counts before other deaths.
    fn note_death(&mut self, verdict: &IdVerdict) {
        if let IdVerdict::Dead(status) = verdict
            && !self.id_status.is_lost()
        {
            self.id_status = *status;
        }
    }

    /// Repeats a touch with the time to live of the record's session. Until the store confirms it, other
    /// requests touch the record too: this touch may fail, time out or be dropped.
    #[cold]
    fn touch_again(&mut self, engine: &Engine, ttl: Duration) -> Option<PendingRead> {
        let key = self.identity.key()?;
        engine.touch_times.remove(&key);
        self.touch = ReadTouch::Repeated;
        self.set_cookie_lifetime(engine, self.lifetime, false);
        self.lifetime = Lifetime::from_creation(engine.clock.now());
        Some((key, self.store(engine).read(&key, Some(ttl))))
    }

    /// Applies what the store revealed about the request's id.
    #[inline]
    fn apply(&mut self, engine: &Engine, verdict: IdVerdict, now: Timestamp) {
        match verdict {
            IdVerdict::Alive | IdVerdict::TouchAgain(_) => self.confirm_id(engine, now),
            IdVerdict::NeverStored => {
                self.id_status = IdStatus::Alive;
                self.identity.confirm();
                // There is no record to keep alive, but the cookie of the id is renewed.
                if self.touch != ReadTouch::None && engine.policy.cookie == CookiePolicy::Rolling {
                    self.identity.mark_touched(now);
                }
            }
            // A renewal does not follow a fence.
            IdVerdict::Forwarded(_) | IdVerdict::Dead(_) => {
                self.note_death(&verdict);
                self.identity.discard_id();
            }
        }
    }

    fn on_read(
        &mut self,
        engine: &Engine,
        outcome: ReadOutcome,
        now: Timestamp,
        mode: LoadMode,
    ) -> Result<IdVerdict, SessionError> {
        match outcome {
            ReadOutcome::Found(record) => self.on_found(engine, record, now, mode),
            ReadOutcome::Gone => Ok(IdVerdict::Dead(IdStatus::Destroyed)),
            ReadOutcome::Absent => Ok(self.absent_verdict(engine, now)),
        }
    }

    fn absent_verdict(&self, engine: &Engine, now: Timestamp) -> IdVerdict {
        let age = now.duration_since(self.identity.last_touch());
        let max_age = engine.policy.idle_ttl(engine.policy.age);
        match self.identity.lifetime() {
            None if age <= max_age => IdVerdict::NeverStored,
            _ => IdVerdict::Dead(IdStatus::Expired),
        }
    }

    /// Decides if a record is the session of the request. If it is, takes its lifetime.
    #[inline]
    fn record_verdict(&mut self, engine: &Engine, head: &RecordHead, now: Timestamp) -> IdVerdict {
        if head.is_fence {
            IdVerdict::Dead(IdStatus::Regenerated)
        } else if !self.is_opened_by_cookie(engine, head) {
            IdVerdict::Dead(IdStatus::Destroyed)
        } else if engine.has_ended(&head.lifetime, now) {
            IdVerdict::Dead(IdStatus::Expired)
        } else {
            self.lifetime = head.lifetime;
            let missed = self.missed_ttl(engine, now);
            missed.map_or(IdVerdict::Alive, IdVerdict::TouchAgain)
        }
    }

    /// Returns the time to live of the record, if the read has touched it with another one.
    #[inline]
    fn missed_ttl(&self, engine: &Engine, now: Timestamp) -> Option<Duration> {
        if self.touch == ReadTouch::None || self.identity.lifetime() == Some(self.lifetime) {
            return None;
        }
        let ttl = engine.record_ttl(&self.lifetime, now);
        (ttl != self.identity.record_ttl(engine, now)).then_some(ttl)
    }

    fn on_found(
        &mut self,
        engine: &Engine,
        record: Record,
        now: Timestamp,
        mode: LoadMode,
    ) -> Result<IdVerdict, SessionError> {
        let flash = self.flash.stored_mut();
        let head = match decode_into(engine, &record.data, &mut self.data, flash) {
            Err(DecodeError::Damaged) => return Ok(self.on_unreadable(engine)),
            decoded => decoded?,
        };
        if let Some(forward) = self.forward(engine, &record, &head) {
            return Ok(IdVerdict::Forwarded(Box::new(forward)));
        }
        let verdict = self.record_verdict(engine, &head, now);
        if let IdVerdict::Dead(IdStatus::Expired) = verdict {
            self.key_to_destroy = self.identity.key();
        }
        if !matches!(verdict, IdVerdict::Alive) {
            return Ok(verdict);
        }
        let consume = mode == LoadMode::Write && !self.invisible;
        if self.flash.take_incoming(consume).is_err() {
            return Ok(self.on_unreadable(engine));
        }
        self.version = Some(record.version);
        self.base = Some(record.data);
        self.tags.set_stored(record.tags)?;
        Ok(verdict)
    }

    /// Returns the new id to follow, if the record is a fence that forwards.
    fn forward(&self, engine: &Engine, record: &Record, head: &RecordHead) -> Option<Forward> {
        if !head.is_fence || !self.identity.can_follow() || !self.is_opened_by_cookie(engine, head)
        {
            return None;
        }
        rotation::forward(engine, &self.identity.key()?, &record.data)
    }

    /// Reports that the bytes under the request's id are not a session record. They are left to
    /// expire, and the visitor gets a new session. A 503 would lock the visitor out for as long.
    #[cold]
    fn on_unreadable(&mut self, engine: &Engine) -> IdVerdict {
        if let Some(key) = self.identity.key() {
            self.queue(engine, Event::RecordUnreadable { key });
        }
        IdVerdict::Dead(IdStatus::Expired)
    }

    /// Returns `true` if the request's cookie may open the record. A cookie that was sealed before
    /// anything was stored opens any record under its id.
    ///
    /// The id of a session that has ended may get a record again, from a copy of its first cookie.
    /// The session's later cookies must not open that record. A store without versions cannot merge
    /// parallel first writes, so there each of their cookies opens the record of the last one.
    fn is_opened_by_cookie(&self, engine: &Engine, head: &RecordHead) -> bool {
        let lifetime = self.identity.lifetime();
        lifetime.is_none_or(|lifetime| lifetime.created == head.lifetime.created)
            || !self.store(engine).capabilities().conditional_writes
    }

    fn open(&mut self, engine: &Engine, mode: LoadMode, fresh: bool) -> Result<(), SessionError> {
        self.phase = match mode {
            LoadMode::Write => Phase::Open,
            LoadMode::ReadOnly => Phase::ReadOnly(ReadOnlyReason::LoadedReadOnly),
            LoadMode::Identify => {
                self.clear_content();
                return Ok(());
            }
        };
        if engine.listeners.want_routine_events() {
            let key = self.identity.ensure_key()?;
            self.queue(engine, Event::Initiated { key, fresh });
        }
        Ok(())
    }

    /// Applies the policy for a session that cannot be loaded.
    fn on_load_error(&mut self, engine: &Engine, error: SessionError) -> Result<(), SessionError> {
        let error = self.report(engine, error);
        match engine.policy.on_store_failure {
            OnStoreFailure::ReadOnly if error.is_store_failure() => {
                self.clear_content();
                self.keep_browser_cookies();
                self.phase = Phase::ReadOnly(ReadOnlyReason::StoreFailed);
                Ok(())
            }
            _ => {
                self.phase = Phase::Failed;
                self.load_error = Some(Box::new(error.clone()));
                Err(error)
            }
        }
    }
}

/// Renewals of sessions that the handler did not load.
impl SessionState {
    /// Returns `true` if the final commit has nothing to do: the handler did not use the session, no renewal
    /// is due, and the response sets no cookie. It is the usual case of most requests.
    pub(in crate::session) fn is_unused(&self, engine: &Engine) -> bool {
        let is_untouched = self.phase == Phase::Unloaded && !self.accessed && !self.changed;
        is_untouched
            && engine.policy.cookie == CookiePolicy::WhenUsed
            && !self.identity.may_be_due(engine, engine.clock.now())
    }

    /// Starts the read that touches the record and shows if the id is alive, if a renewal is due. During
    /// an outage of the store there is none.
    pub(in crate::session) fn begin_renewal(
        &mut self,
        engine: &Engine,
    ) -> Option<StoreFuture<ReadOutcome>> {
        let now = engine.clock.now();
        if !self.identity.may_be_due(engine, now) {
            return None;
        }
        self.resolve_id(engine);
        let key = self.identity.due_key(engine, now)?;
        if !self.store(engine).is_available(&key) {
            return None;
        }
        self.lifetime = Lifetime::from_creation(now);
        Some(self.begin_read(engine, key, now).1)
    }

    /// Applies the result of a renewal. A failure is reported and does not fail the request. Returns the
    /// next read, if the record was touched with the wrong time to live.
    pub(in crate::session) fn finish_renewal(
        &mut self,
        engine: &Engine,
        read: Result<ReadOutcome, StoreError>,
    ) -> Option<StoreFuture<ReadOutcome>> {
        let now = self.lifetime.created;
        let verdict = match read {
            Ok(ReadOutcome::Found(record)) => match engine.format.decode_head(&record.data) {
                Ok(head) => self.record_verdict(engine, &head, now),
                // The next load reports it.
                Err(_) => return None,
            },
            Ok(ReadOutcome::Gone) => IdVerdict::Dead(IdStatus::Destroyed),
            Ok(ReadOutcome::Absent) => self.absent_verdict(engine, now),
            Err(error) => {
                // A record that is unreadable now will be so at the next request.
                if !error.is_unreadable() {
                    self.release_touch(engine);
                }
                drop(self.report(engine, error.into()));
                return None;
            }
        };
        if let IdVerdict::TouchAgain(ttl) = verdict {
            return self.touch_again(engine, ttl).map(|(_, read)| read);
        }
        self.apply(engine, verdict, now);
        None
    }

    /// Returns the key of the record that this request touched.
    pub(in crate::session) fn renewed_key(&self) -> Option<StoreKey> {
        self.identity
            .key()
            .filter(|_| self.touch != ReadTouch::None)
    }

    /// Lets the next request of the session touch it again, after a failed touch.
    fn release_touch(&self, engine: &Engine) {
        if let Some(key) = self.renewed_key() {
            engine.touch_times.remove(&key);
        }
    }
}
