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

/// The read of a load or of a renewal.
#[derive(Debug)]
pub(in crate::session) struct PendingRead {
    pub(in crate::session) reading: StoreFuture<ReadOutcome>,
    pub(in crate::session) lookup: Lookup,
}

/// The parameters of a read. Several loads of one request may run at once.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Lookup {
    /// The key of the id that is looked up.
    pub(in crate::session) key: StoreKey,
    /// The time at which the read began.
    begun: Timestamp,
    /// The new expiry of the record, or zero if the read does not touch it. An option would be larger.
    expiry: Timestamp,
    /// How often the session had been unloaded.
    unloads: u32,
}

impl Lookup {
    const fn is_touch(&self) -> bool {
        self.expiry.as_millis() > 0
    }

    /// Lets the next request of the session touch the record. Call it if the touch may not have happened: the read
    /// failed, or was dropped before the store has answered.
    pub(in crate::session) fn release_touch(&self, engine: &Engine) {
        if self.is_touch() {
            engine.touch_times.remove(&self.key);
        }
    }

    /// Returns `true` if the read has touched the record with another time to live than that of this lifetime.
    fn has_missed(&self, engine: &Engine, lifetime: &Lifetime) -> bool {
        let ttl = || engine.record_ttl(lifetime, self.begun);
        self.is_touch() && self.expiry != self.begun.saturating_add(ttl())
    }
}

/// The result of a read about an id of the request.
enum IdVerdict {
    /// There is a record of the session, and the state has its lifetime.
    Alive,
    /// The store has nothing, and the cookie was sealed before anything was stored.
    NeverStored,
    /// The record was touched with another time to live than that of its session, since the cookie is
    /// older than a change of it. The touch is repeated.
    TouchAgain,
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
        if self.phase != Phase::Unloaded {
            return self.load_again(mode).map(|()| None);
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

    /// Ends a load of a session that is not unloaded.
    fn load_again(&mut self, mode: LoadMode) -> Result<(), SessionError> {
        match self.phase {
            Phase::Open | Phase::ReadOnly(_) | Phase::Committing => {
                self.upgrade(mode);
                Ok(())
            }
            Phase::Unloaded => Err(SessionError::NotLoaded),
            Phase::Failed => Err(self.failure()),
            Phase::Abandoned
            | Phase::Closing
            | Phase::Closed
            | Phase::ClosedUnloaded
            | Phase::Unstored => Err(SessionError::Committed),
        }
    }

    #[inline]
    fn begin_read(&mut self, engine: &Engine, key: StoreKey, now: Timestamp) -> PendingRead {
        // Only one of several loads of this request may finish, so each of them touches the record.
        let ttl = self.identity.touch_ttl(engine, now, self.renews);
        if ttl.is_some() {
            self.renews = true;
            // Parallel requests of the session need not touch it too. The future of the load or the renewal takes
            // this back if it is dropped.
            engine.touch_times.insert(key, now);
        }
        self.read(engine, key, ttl, now)
    }

    #[inline]
    fn read(
        &self,
        engine: &Engine,
        key: StoreKey,
        ttl: Option<Duration>,
        begun: Timestamp,
    ) -> PendingRead {
        let expiry = ttl.map(|ttl| begun.saturating_add(ttl));
        PendingRead {
            reading: self.store(engine).read(&key, ttl),
            lookup: Lookup {
                key,
                begun,
                expiry: expiry.unwrap_or_default(),
                unloads: self.unloads,
            },
        }
    }

    /// Starts the read of an id that replaces the one of the last read.
    fn begin_next_read(&mut self, engine: &Engine, key: StoreKey, now: Timestamp) -> PendingRead {
        self.renews = false;
        self.begin_read(engine, key, now)
    }

    /// Returns `true` if the read is of the present id, and the session was not unloaded since it began. Other results
    /// are older than what this request knows.
    pub(in crate::session) fn is_current(&self, lookup: &Lookup) -> bool {
        self.has_key(&lookup.key) && self.unloads == lookup.unloads
    }

    /// Ends the load with the result of the read. If the id is dead and the request carried others,
    /// returns the read of the next one.
    pub(in crate::session) fn finish_load(
        &mut self,
        engine: &Engine,
        lookup: &Lookup,
        read: Result<ReadOutcome, StoreError>,
        mode: LoadMode,
    ) -> Result<Option<PendingRead>, SessionError> {
        let verdict = match read {
            Ok(outcome) => self.on_read(engine, outcome, lookup, mode),
            Err(error) if error.is_unreadable() => Ok(self.on_unreadable(engine)),
            Err(error) => {
                self.release_touch(engine, lookup);
                Err(error.into())
            }
        };
        let opened = match verdict {
            Ok(IdVerdict::Alive) => {
                self.confirm_id(engine, lookup);
                self.identity.settle();
                self.open(engine, mode, false).map(|()| None)
            }
            Ok(verdict) => self.on_other_verdict(engine, verdict, lookup, mode),
            Err(error) => Err(error),
        };
        opened.or_else(|error| self.on_load_error(engine, error).map(|()| None))
    }

    /// Tries the next id of the request, or begins a new session.
    fn on_other_verdict(
        &mut self,
        engine: &Engine,
        verdict: IdVerdict,
        lookup: &Lookup,
        mode: LoadMode,
    ) -> Result<Option<PendingRead>, SessionError> {
        let now = lookup.begun;
        if let IdVerdict::Forwarded(forward) = verdict {
            self.identity.follow(forward.id, forward.lifetime);
            let key = self.identity.ensure_key()?;
            return Ok(Some(self.begin_next_read(engine, key, now)));
        }
        if let IdVerdict::TouchAgain = verdict {
            return Ok(Some(self.touch_again(engine, lookup)));
        }
        self.clear_content();
        let was_never_stored = matches!(verdict, IdVerdict::NeverStored);
        if let Some(key) = self.identity.take_next(was_never_stored) {
            self.note_death(&verdict);
            return Ok(Some(self.begin_next_read(engine, key, now)));
        }
        if self.identity.adopt_never_stored() {
            let is_due = engine.is_touch_due(self.identity.last_touch(), now);
            self.confirm_never_stored(engine, now, is_due);
        } else {
            self.apply(engine, verdict, lookup);
        }
        self.open(engine, mode, true).map(|()| None)
    }

    /// Takes the id as the session's: there is a record of the session under it.
    #[inline]
    fn confirm_id(&mut self, engine: &Engine, lookup: &Lookup) {
        self.id_status = IdStatus::Alive;
        self.identity.confirm();
        self.set_cookie_lifetime(engine, self.lifetime, false);
        if lookup.is_touch() {
            self.on_touched(engine, lookup);
        }
    }

    #[inline(never)]
    fn on_touched(&mut self, engine: &Engine, lookup: &Lookup) {
        self.identity.mark_touched(lookup.begun);
        // A correction of the touch has removed the time.
        engine.touch_times.insert(lookup.key, lookup.begun);
    }

    /// Takes an id that was never stored as the session's. There is no record to keep alive, but the cookie of the
    /// id is renewed if that is due.
    fn confirm_never_stored(&mut self, engine: &Engine, now: Timestamp, is_due: bool) {
        self.id_status = IdStatus::Alive;
        self.identity.confirm();
        if is_due && engine.policy.cookie == CookiePolicy::Rolling {
            self.identity.mark_touched(now);
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
    fn touch_again(&mut self, engine: &Engine, lookup: &Lookup) -> PendingRead {
        self.set_cookie_lifetime(engine, self.lifetime, false);
        let pending = self.begin_correction(engine, lookup.key, self.lifetime);
        self.lifetime = Lifetime::from_creation(pending.lookup.begun);
        pending
    }

    /// Ends a load after another task of this request has loaded the session. The first result counts. Returns a
    /// read if the touch must be corrected.
    pub(in crate::session) fn finish_later_load(
        &mut self,
        engine: &Engine,
        lookup: &Lookup,
        mode: LoadMode,
    ) -> Result<Option<PendingRead>, SessionError> {
        let correction = self.correct_touch(engine, lookup);
        if correction.is_none() {
            self.load_again(mode)?;
        }
        Ok(correction)
    }

    /// Starts to touch the record again, if the session is loaded and the read has touched the record with another
    /// time to live.
    fn correct_touch(&self, engine: &Engine, lookup: &Lookup) -> Option<PendingRead> {
        if !lookup.is_touch() || !self.identity.is_confirmed() || !self.has_key(&lookup.key) {
            return None;
        }
        let lifetime = self.identity.lifetime()?;
        let is_wrong = lookup.has_missed(engine, &lifetime);
        is_wrong.then(|| self.begin_correction(engine, lookup.key, lifetime))
    }

    #[cold]
    fn begin_correction(&self, engine: &Engine, key: StoreKey, lifetime: Lifetime) -> PendingRead {
        engine.touch_times.remove(&key);
        let now = engine.clock.now();
        let ttl = engine.record_ttl(&lifetime, now);
        self.read(engine, key, Some(ttl), now)
    }

    /// Applies what the store revealed about the request's id.
    #[inline]
    fn apply(&mut self, engine: &Engine, verdict: IdVerdict, lookup: &Lookup) {
        match verdict {
            IdVerdict::Alive | IdVerdict::TouchAgain => self.confirm_id(engine, lookup),
            IdVerdict::NeverStored => {
                self.confirm_never_stored(engine, lookup.begun, lookup.is_touch());
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
        lookup: &Lookup,
        mode: LoadMode,
    ) -> Result<IdVerdict, SessionError> {
        match outcome {
            ReadOutcome::Found(record) => self.on_found(engine, record, lookup, mode),
            ReadOutcome::Gone => Ok(IdVerdict::Dead(IdStatus::Destroyed)),
            ReadOutcome::Absent => Ok(self.absent_verdict(engine, lookup.begun)),
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
    fn record_verdict(
        &mut self,
        engine: &Engine,
        record: &[u8],
        head: &RecordHead,
        lookup: &Lookup,
    ) -> IdVerdict {
        if head.is_fence {
            IdVerdict::Dead(IdStatus::from_fence(engine, &lookup.key, record))
        } else if !self.is_opened_by_cookie(engine, head) {
            IdVerdict::Dead(IdStatus::Destroyed)
        } else if engine.has_ended(&head.lifetime, lookup.begun) {
            IdVerdict::Dead(IdStatus::Expired)
        } else {
            self.lifetime = head.lifetime;
            match lookup.has_missed(engine, &self.lifetime) {
                true => IdVerdict::TouchAgain,
                false => IdVerdict::Alive,
            }
        }
    }

    fn on_found(
        &mut self,
        engine: &Engine,
        record: Record,
        lookup: &Lookup,
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
        let verdict = self.record_verdict(engine, &record.data, &head, lookup);
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
                self.restore_stored_id();
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
    pub(in crate::session) fn begin_renewal(&mut self, engine: &Engine) -> Option<PendingRead> {
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
        Some(self.begin_read(engine, key, now))
    }

    /// Applies the result of a renewal. A failure is reported and does not fail the request. Returns the
    /// next read, if the record was touched with the wrong time to live.
    pub(in crate::session) fn finish_renewal(
        &mut self,
        engine: &Engine,
        lookup: &Lookup,
        read: Result<ReadOutcome, StoreError>,
    ) -> Option<PendingRead> {
        let verdict = match read {
            Ok(ReadOutcome::Found(record)) => match engine.format.decode_head(&record.data) {
                Ok(head) => self.record_verdict(engine, &record.data, &head, lookup),
                // The next load reports it.
                Err(_) => return None,
            },
            Ok(ReadOutcome::Gone) => IdVerdict::Dead(IdStatus::Destroyed),
            Ok(ReadOutcome::Absent) => self.absent_verdict(engine, lookup.begun),
            Err(error) => {
                // A record that is unreadable now will be so at the next request.
                if !error.is_unreadable() {
                    self.release_touch(engine, lookup);
                }
                drop(self.report(engine, error.into()));
                return None;
            }
        };
        if let IdVerdict::TouchAgain = verdict {
            return Some(self.touch_again(engine, lookup));
        }
        self.apply(engine, verdict, lookup);
        None
    }

    /// Returns the key of the record that this request touched.
    pub(in crate::session) fn renewed_key(&self) -> Option<StoreKey> {
        self.identity.key().filter(|_| self.renews)
    }

    /// Lets the next request of the session touch it again, after a failed touch.
    fn release_touch(&mut self, engine: &Engine, lookup: &Lookup) {
        lookup.release_touch(engine);
        self.renews &= !lookup.is_touch();
    }
}
