//! The id of a request's session, from its cookie.

use std::{cell::OnceCell, time::Duration};

use http::HeaderValue;
use smallvec::SmallVec;

use super::candidates::{CandidateQueue, IdCandidate, open_cookie};
use crate::{
    clock::Timestamp,
    cookie::{MAX_CANDIDATES, MAX_PAIR_LEN},
    csrf_secret::CsrfSecret,
    id::{EntropyError, SessionId, StoreKey},
    session::{CookiePolicy, SessionError, engine::Engine},
    wire::{CookieText, IdCookie, Lifetime, OpenedIdCookie},
};

/// Maximum number of fences that the load of one request follows.
const MAX_HOPS: usize = 2;

/// The id and its cookie. The cookie is decrypted when the id is first needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    /// Until the texts are opened, the values of the request's cookies with the session's name. Then the
    /// sealed cookie for the fields below, unless it is out of date. Usually one, often none.
    texts: SmallVec<[CookieText; 1]>,
    /// `true` once the texts were opened.
    resolved: bool,
    /// The other ids of the request, until a load has found the one that is alive. Usually none.
    others: Option<Box<CandidateQueue>>,
    id: Option<SessionId>,
    /// The key of `id`, computed when first needed.
    key: OnceCell<StoreKey>,
    /// The id that this one replaced in a rotation. Its CSRF tokens are valid for this request.
    former_id: Option<SessionId>,
    /// Number of fences that were followed from the request's ids.
    hops: usize,
    /// `true` if the request carried the id, or an old id that forwards to it.
    from_request: bool,
    /// The request carried an id, which may have been replaced since.
    was_carried: bool,
    /// The store confirmed during this request that the id is alive.
    confirmed: bool,
    /// The time of the last touch of the record, from the cookie.
    last_touch: Timestamp,
    /// The lifetime of the record under the id. `None` if no record was ever stored under it.
    lifetime: Option<Lifetime>,
    /// The id or a CSRF token of it was handed out. The browser needs the id to use either.
    is_issued: bool,
}

impl Identity {
    /// Copies the values in a `Cookie` line that may hold the id. Decrypts nothing.
    pub(super) fn collect_cookies(&mut self, engine: &Engine, line: &HeaderValue) {
        let mut at = 0;
        while let Some(text) = engine.finder.next_in(line.as_bytes(), &mut at) {
            if self.texts.len() == MAX_CANDIDATES {
                return;
            }
            // A value longer than any cookie fails to open, even when it is cut.
            let text = text.get(..=MAX_PAIR_LEN).unwrap_or(text);
            // Copied in place. The text is as long as a move of it.
            self.texts.push(CookieText::new());
            if let Some(copy) = self.texts.last_mut() {
                copy.extend_from_slice(text);
            }
        }
    }

    /// Returns `true` if the request's cookies were not opened, and there is no new id.
    pub(super) fn is_unused(&self) -> bool {
        !self.resolved && self.id.is_none()
    }

    /// Resets an identity that is [unused](Self::is_unused).
    pub(super) fn drop_texts(&mut self) {
        self.texts.clear();
    }

    pub(super) fn reset(&mut self) {
        self.texts.clear();
        self.resolved = false;
        self.others = None;
        self.set_id(None);
        self.former_id = None;
        self.hops = 0;
        self.from_request = false;
        self.was_carried = false;
        self.confirmed = false;
        self.lifetime = None;
        self.is_issued = false;
        self.last_touch = Timestamp::default();
    }

    /// Opens the request's cookies and takes the id of the first one. If there are several ids, the
    /// load decides which one is alive. Returns the reason if no cookie could be opened. Does nothing
    /// at the second call.
    pub(super) fn resolve(&mut self, engine: &Engine) -> Option<&'static str> {
        if std::mem::replace(&mut self.resolved, true) {
            return None;
        }
        let mut rejected = None;
        if let [text] = &self.texts[..] {
            match open_cookie(engine, text) {
                Ok((opened, key)) => self.set_cookie(opened, key),
                Err(reason) => {
                    rejected = Some(reason);
                    self.texts.clear();
                }
            }
        } else {
            let opened = self.texts.iter().filter_map(|text| {
                let opened = IdCandidate::open(engine, text);
                opened.map_err(|reason| rejected = Some(reason)).ok()
            });
            let mut queue = CandidateQueue::new(opened);
            self.texts.clear();
            if let Some(first) = queue.pop() {
                self.set_candidate(first);
            }
            self.others = (!queue.is_empty()).then(|| Box::new(queue));
        }
        rejected.filter(|_| self.id.is_none())
    }

    /// Returns `true` if the request carried several ids, and no load has found the one that is alive.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.others.is_some()
    }

    /// Settles on the current id, although the request carried others.
    pub(super) fn settle(&mut self) {
        self.others = None;
    }

    /// Takes the next id to look up, after the current one proved not to be alive. Returns its key, or
    /// `None` if there is none.
    pub(super) fn take_next(&mut self, was_never_stored: bool) -> Option<StoreKey> {
        let mut others = self.others.take()?;
        if was_never_stored && let Some(current) = self.candidate() {
            others.keep_never_stored(current);
        }
        let next = others.pop();
        self.others = Some(others);
        let next = next?;
        let key = next.key;
        self.set_candidate(next);
        Some(key)
    }

    /// Takes an id that was never stored, because no other one is alive. Returns `false` if there is
    /// none.
    pub(super) fn adopt_never_stored(&mut self) -> bool {
        let candidate = self.others.take().and_then(|it| it.into_never_stored());
        candidate
            .map(|candidate| self.set_candidate(candidate))
            .is_some()
    }

    fn candidate(&self) -> Option<IdCandidate> {
        let cookie = IdCookie {
            id: self.id.clone()?,
            renewed: self.last_touch,
            lifetime: self.lifetime,
        };
        Some(IdCandidate {
            opened: OpenedIdCookie {
                cookie,
                outdated: self.texts.is_empty(),
            },
            key: self.key()?,
            text: self.texts.first().cloned().unwrap_or_default(),
        })
    }

    fn set_candidate(&mut self, candidate: IdCandidate) {
        // Fences that a former candidate forwarded through are not those of this one.
        self.hops = 0;
        self.former_id = None;
        self.texts.clear();
        self.texts.push(candidate.text);
        self.set_cookie(candidate.opened, candidate.key);
    }

    /// Takes the id of an opened cookie, whose text is the only one of `texts`.
    fn set_cookie(&mut self, opened: OpenedIdCookie, key: StoreKey) {
        let IdCookie {
            id,
            renewed,
            lifetime,
        } = opened.cookie;
        self.last_touch = renewed;
        self.lifetime = lifetime;
        self.from_request = true;
        self.was_carried = true;
        self.confirmed = false;
        self.is_issued = false;
        self.former_id = None;
        if opened.outdated {
            self.texts.clear();
        }
        self.id = Some(id);
        self.key = OnceCell::from(key);
    }

    /// Returns `true` if the request's cookies must be opened, to see if a touch is due, or were opened
    /// already.
    pub(super) fn may_be_due(&self, engine: &Engine, now: Timestamp) -> bool {
        match engine.policy.cookie {
            _ if self.resolved => true,
            CookiePolicy::Rolling => !self.texts.is_empty(),
            CookiePolicy::WhenUsed => self.appears_due(engine, now),
        }
    }

    /// Returns the key of an id that the request carried, if its record is due for a touch. Call
    /// [`resolve`](Self::resolve) before it.
    pub(super) fn due_key(&self, engine: &Engine, now: Timestamp) -> Option<StoreKey> {
        // It is unknown which one of several ids is alive.
        let is_known = self.from_request && !self.is_ambiguous();
        let is_due = is_known && self.touch_ttl(engine, now, false).is_some();
        self.key().filter(|_| is_due)
    }

    /// Returns the time of the last renewal that is known: from the cookie, or of another request of this
    /// process.
    pub(super) fn last_renewal(&self, engine: &Engine) -> Timestamp {
        let recent = self.key().and_then(|key| engine.touch_times.get(&key));
        recent.unwrap_or_default().max(self.last_touch)
    }

    /// Returns the new time to live of the record, by the lifetime in the cookie, if it is due for a touch and not
    /// over. `renews`: this request has begun a touch, so the last one in the process may be its own.
    #[inline]
    pub(super) fn touch_ttl(
        &self,
        engine: &Engine,
        now: Timestamp,
        renews: bool,
    ) -> Option<Duration> {
        if !engine.is_touch_due(self.last_touch, now) {
            return None;
        }
        let recent = self.key().and_then(|key| engine.touch_times.get(&key));
        if !renews && recent.is_some_and(|recent| !engine.is_touch_due(recent, now)) {
            return None;
        }
        let lifetime = self.lifetime.unwrap_or(Lifetime::from_creation(now));
        let ttl = engine.record_ttl(&lifetime, now);
        (!ttl.is_zero()).then_some(ttl)
    }

    /// Returns `true` if a touch appears due from the renewal time of a cookie. That time is not
    /// authenticated, so the caller must open the cookie before it acts on the result.
    fn appears_due(&self, engine: &Engine, now: Timestamp) -> bool {
        self.texts.iter().any(|text| {
            let last_touch = engine.format.claimed_renewal(text);
            last_touch.is_none_or(|last_touch| engine.is_touch_due(last_touch, now))
        })
    }

    /// Returns the key of the id, if there is an id.
    pub(super) fn key(&self) -> Option<StoreKey> {
        let id = self.id.as_ref()?;
        Some(*self.key.get_or_init(|| id.store_key()))
    }

    /// Returns `true` if `key` is the key of the id.
    pub(super) fn has_key(&self, key: &StoreKey) -> bool {
        let id = self.id.as_ref();
        id.is_some_and(|id| self.key.get_or_init(|| id.store_key()) == key)
    }

    /// Returns the id, if `key` is its key.
    pub(super) fn id_with_key(&self, key: &StoreKey) -> Option<SessionId> {
        self.id.clone().filter(|_| self.has_key(key))
    }

    /// Returns `true` if the request carried the id.
    pub(super) fn is_from_request(&self) -> bool {
        self.from_request
    }

    /// Returns the time of the last touch of the record, from the cookie.
    pub(super) fn last_touch(&self) -> Timestamp {
        self.last_touch
    }

    /// Returns the lifetime of the record under the id, or `None` if none was ever stored under it.
    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// Returns the id, and creates it if there is none.
    pub(super) fn ensure_id(&mut self) -> Result<&SessionId, EntropyError> {
        if self.id.is_none() {
            self.set_id(Some(SessionId::generate()?));
        }
        self.id.as_ref().ok_or(EntropyError)
    }

    /// Returns the key of the id, and creates the id if there is none.
    pub(super) fn ensure_key(&mut self) -> Result<StoreKey, EntropyError> {
        self.ensure_id()?;
        self.key().ok_or(EntropyError)
    }

    /// Returns the id for the handler.
    pub(super) fn issue_id(&mut self) -> Result<&SessionId, EntropyError> {
        self.is_issued = true;
        self.ensure_id()
    }

    /// Returns the secret of the id's CSRF tokens, to make a token of it.
    pub(super) fn issue_csrf_secret(&mut self) -> Result<CsrfSecret, EntropyError> {
        Ok(CsrfSecret::from_id(self.issue_id()?))
    }

    /// Returns `true` if `token` is a CSRF token of the id, or of the id that it replaced in a rotation.
    pub(super) fn verify_csrf_token(&self, token: &str) -> bool {
        let mut ids = self.id.iter().chain(&self.former_id);
        ids.any(|id| CsrfSecret::from_id(id).matches(token))
    }

    /// Drops the id and returns its key. The next call of [`ensure_id`](Self::ensure_id) creates
    /// one.
    pub(super) fn discard_id(&mut self) -> Option<StoreKey> {
        self.from_request = false;
        self.confirmed = false;
        self.others = None;
        self.lifetime = None;
        self.is_issued = false;
        self.former_id = None;
        self.texts.clear();
        let key = self.key();
        self.set_id(None);
        key
    }

    /// Replaces the id with a new one and returns the key of the old id. `is_rotation` keeps the CSRF
    /// tokens of the old id valid for this request.
    pub(super) fn replace_id(
        &mut self,
        is_rotation: bool,
    ) -> Result<Option<StoreKey>, EntropyError> {
        let former = self.id.clone().filter(|_| is_rotation);
        let old = self.discard_id();
        self.ensure_id()?;
        self.former_id = former;
        Ok(old)
    }

    /// Replaces the id with the one that its fence forwards to. The browser needs the new id's cookie.
    pub(super) fn follow(&mut self, id: SessionId, lifetime: Lifetime) {
        let former = self.former_id.take().or_else(|| self.id.take());
        self.set_id(Some(id));
        self.former_id = former;
        self.from_request = true;
        self.hops += 1;
        self.lifetime = Some(lifetime);
        self.confirmed = false;
        self.is_issued = false;
        self.texts.clear();
    }

    /// Returns `true` if a load may follow another fence.
    pub(super) fn can_follow(&self) -> bool {
        self.hops < MAX_HOPS
    }

    /// Changes the lifetime to that of the record that is stored under the id.
    pub(super) fn set_lifetime(&mut self, lifetime: Lifetime) {
        self.lifetime = Some(lifetime);
        self.texts.clear();
    }

    /// Records that the store touched the record at `now`.
    pub(super) fn mark_touched(&mut self, now: Timestamp) {
        self.last_touch = now;
        self.texts.clear();
    }

    /// Records that the store confirmed the id as alive.
    pub(super) fn confirm(&mut self) {
        self.confirmed = true;
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Returns `true` if the request carried an id.
    pub(super) fn was_carried(&self) -> bool {
        self.was_carried
    }

    pub(super) fn is_issued(&self) -> bool {
        self.is_issued
    }

    /// Returns `true` if the contents of the request's cookie have changed.
    pub(super) fn is_cookie_outdated(&self) -> bool {
        self.texts.is_empty()
    }

    /// Returns the value of the cookie to send: the request's own, if it is up to date.
    pub(super) fn cookie_text(&mut self, engine: &Engine) -> Result<&[u8], SessionError> {
        if self.texts.is_empty() {
            let id = self.ensure_id()?.clone();
            if !self.from_request {
                self.last_touch = engine.clock.now();
            }
            let cookie = IdCookie {
                id,
                renewed: self.last_touch,
                lifetime: self.lifetime,
            };
            let mut text = CookieText::new();
            engine.seal(&cookie, &mut text)?;
            self.texts.push(text);
        }
        Ok(self.texts.first().map_or(&[], |text| &text[..]))
    }

    fn set_id(&mut self, id: Option<SessionId>) {
        self.id = id;
        self.key.take();
    }
}
