//! Which session a request belongs to, as its cookie tells.

use std::cell::OnceCell;

use http::{HeaderMap, header::COOKIE};
use smallvec::SmallVec;

use crate::session::{Event, SessionError, engine::Engine};
use crate::{
    clock::Timestamp,
    cookie::{MAX_CANDIDATES, MAX_PAIR_LEN},
    csrf_secret::CsrfSecret,
    id::{EntropyError, SessionId, StoreKey},
    wire::{CookieText, IdCookie, OpenedIdCookie},
};

/// The session's name, found out no earlier than somebody asks.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Identity {
    /// The values of the request's cookies of our name. Usually one, often none.
    candidates: SmallVec<[CookieText; 1]>,
    looked_up: bool,
    id: Option<SessionId>,
    /// The key of `id`, once it was asked for.
    key: OnceCell<StoreKey>,
    /// The id came with the request.
    pub(in crate::session) carried: bool,
    /// When the session was last renewed in the store, as far as the cookie tells.
    pub(in crate::session) renewed: Timestamp,
    /// Something is stored under the id, or was.
    pub(in crate::session) stored: bool,
    /// A token made from the id has been given away: without the id it is worth nothing.
    shown: bool,
    /// The cookie text of this id, renewal and standing under the first key, if it is known.
    text: CookieText,
}

impl Identity {
    /// Notes the cookies that may name the session. Nothing is opened.
    pub(in crate::session) fn note_cookies(&mut self, engine: &Engine, headers: &HeaderMap) {
        for line in headers.get_all(COOKIE) {
            for text in engine.finder.find_in(line.as_bytes()) {
                if self.candidates.len() == MAX_CANDIDATES {
                    return;
                }
                // One that is longer than any cookie fails like its beginning, and is not copied.
                let text = text.get(..=MAX_PAIR_LEN).unwrap_or(text);
                self.candidates.push(CookieText::from_slice(text));
            }
        }
    }

    pub(in crate::session) fn reset(&mut self) {
        self.candidates.clear();
        self.looked_up = false;
        self.set_id(None);
        self.carried = false;
        self.stored = false;
        self.shown = false;
        self.renewed = Timestamp::default();
        self.text.clear();
    }

    /// Opens the first of the request's cookies that authenticates.
    pub(in crate::session) fn look_up(&mut self, engine: &Engine) {
        if std::mem::replace(&mut self.looked_up, true) {
            return;
        }
        let mut rejected = None;
        for candidate in &self.candidates {
            match open(engine, candidate) {
                Ok((opened, key)) => {
                    self.renewed = opened.cookie.renewed;
                    self.stored = opened.cookie.stored;
                    self.carried = true;
                    if !opened.outdated {
                        self.text.extend_from_slice(candidate);
                    }
                    self.id = Some(opened.cookie.id);
                    self.key = OnceCell::from(key);
                    return;
                }
                Err(reason) => rejected = Some(reason),
            }
        }
        if let Some(reason) = rejected {
            engine.emit(&Event::CookieRejected { reason });
        }
    }

    /// Whether the request has a cookie of our name. Whether we issued it is not known yet.
    pub(in crate::session) fn has_cookie(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Whether a cookie claims that its renewal is due: worth opening, not yet to be believed.
    pub(in crate::session) fn claims_due(&self, engine: &Engine, now: Timestamp) -> bool {
        self.candidates.iter().any(|candidate| {
            let claim = engine.format.claimed_renewal(candidate);
            claim.is_none_or(|renewed| engine.is_renewal_due(renewed, now))
        })
    }

    /// The key of the id that the request carried or that was made since.
    pub(in crate::session) fn key(&self) -> Option<StoreKey> {
        let id = self.id.as_ref()?;
        Some(*self.key.get_or_init(|| id.store_key()))
    }

    /// The id; a new one where the request carried none.
    pub(in crate::session) fn ensure(&mut self) -> Result<&SessionId, EntropyError> {
        if self.id.is_none() {
            self.set_id(Some(SessionId::generate()?));
        }
        self.id.as_ref().ok_or(EntropyError)
    }

    /// The key of the id; of a new one where the request carried none.
    pub(in crate::session) fn ensure_key(&mut self) -> Result<StoreKey, EntropyError> {
        self.ensure()?;
        self.key().ok_or(EntropyError)
    }

    /// The secret of the id's tokens, one of which is about to be given away.
    pub(in crate::session) fn show_csrf_secret(&mut self) -> Result<CsrfSecret, EntropyError> {
        let secret = CsrfSecret::from_id(self.ensure()?);
        self.shown = true;
        Ok(secret)
    }

    /// The secret of the id's tokens, if there is an id.
    pub(in crate::session) fn csrf_secret(&self) -> Option<CsrfSecret> {
        self.id.as_ref().map(CsrfSecret::from_id)
    }

    /// Forgets the id, so that the next one to ask gets a new one.
    pub(in crate::session) fn abandon(&mut self) -> Option<StoreKey> {
        self.carried = false;
        self.stored = false;
        self.shown = false;
        self.text.clear();
        let key = self.key();
        self.set_id(None);
        key
    }

    /// Something is stored under the id; the cookie's text is to say so.
    pub(in crate::session) fn note_stored(&mut self) {
        if !std::mem::replace(&mut self.stored, true) {
            self.text.clear();
        }
    }

    /// The store knows of a renewal at `now`; the cookie's text is to say so.
    pub(in crate::session) fn renew(&mut self, now: Timestamp) {
        self.renewed = now;
        self.text.clear();
    }

    /// Whether the browser does not know yet what it should: a new id under which something is
    /// `stored` or a token was given away, or a renewal.
    pub(in crate::session) fn is_news(&self, stored: bool) -> bool {
        if self.carried {
            self.text.is_empty()
        } else {
            stored || self.shown
        }
    }

    /// The value of the cookie to send: the one that came, if it still says what is true.
    pub(in crate::session) fn text(&mut self, engine: &Engine) -> Result<&[u8], SessionError> {
        if self.text.is_empty() {
            let id = self.ensure()?.clone();
            if !self.carried {
                self.renewed = engine.clock.now();
            }
            let cookie = IdCookie {
                id,
                renewed: self.renewed,
                stored: self.stored,
            };
            engine.seal(&cookie, &mut self.text)?;
        }
        Ok(&self.text)
    }

    fn set_id(&mut self, id: Option<SessionId>) {
        self.id = id;
        self.key.take();
    }
}

/// Reads an id cookie's text, or remembers what it said.
fn open(engine: &Engine, text: &[u8]) -> Result<(OpenedIdCookie, StoreKey), &'static str> {
    if let Some(known) = engine.cookie_cache.get(text) {
        return Ok(known);
    }
    let opened = engine.format.open_id(text)?;
    let key = opened.cookie.id.store_key();
    engine.cookie_cache.insert(text, &opened, key);
    Ok((opened, key))
}
