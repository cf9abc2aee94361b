//! Which session a request belongs to, as its cookie tells.

use http::HeaderValue;
use smallvec::SmallVec;

use super::{Event, SessionError, engine::Engine};
use crate::{
    clock::Timestamp,
    id::{Key, NoEntropy, SessionId},
    wire::{CookieText, IdCookie},
};

/// The session's name, found out no earlier than somebody asks.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// The request's `Cookie` lines that hold our name. Usually one, often none.
    pub(super) lines: SmallVec<[HeaderValue; 1]>,
    looked_up: bool,
    name: Option<(SessionId, Key)>,
    /// The id came with the request.
    pub(super) carried: bool,
    /// When the session was last renewed in the store, as far as the cookie tells.
    pub(super) renewed: Timestamp,
    /// Something is stored under the id, or was.
    pub(super) stored: bool,
    /// The cookie text of this id, renewal and standing under the first key, if it is known.
    text: CookieText,
}

impl Identity {
    pub(super) fn reset(&mut self) {
        self.lines.clear();
        self.looked_up = false;
        self.name = None;
        self.carried = false;
        self.stored = false;
        self.text.clear();
    }

    /// Opens the first of the request's cookies that authenticates.
    pub(super) fn look_up(&mut self, engine: &Engine) {
        if std::mem::replace(&mut self.looked_up, true) {
            return;
        }
        let mut rejected = None;
        let lines = std::mem::take(&mut self.lines);
        for text in lines
            .iter()
            .flat_map(|line| engine.finder.find_in(line.as_bytes()))
        {
            match engine.format.open_id(text) {
                Ok(opened) => {
                    self.renewed = opened.cookie.renewed;
                    self.stored = opened.cookie.stored;
                    self.adopt(opened.cookie.id);
                    self.carried = true;
                    if !opened.outdated {
                        self.text.extend_from_slice(text);
                    }
                    return;
                }
                Err(reason) => rejected = Some(reason),
            }
        }
        if let Some(reason) = rejected {
            engine.tell(&Event::CookieRejected { reason });
        }
    }

    /// Whether a cookie claims that its renewal is due: worth opening, not yet to be believed.
    pub(super) fn claims_due(&self, engine: &Engine, now: Timestamp) -> bool {
        let mut texts = self
            .lines
            .iter()
            .flat_map(|line| engine.finder.find_in(line.as_bytes()));
        texts.any(|text| {
            let claim = engine.format.claimed_renewal(text);
            claim.is_none_or(|renewed| engine.is_renewal_due(renewed, now))
        })
    }

    /// The key of the id that the request carried or that was made since.
    pub(super) fn key(&self) -> Option<Key> {
        self.name.as_ref().map(|(_, key)| *key)
    }

    /// The id; a new one where the request carried none.
    pub(super) fn ensure(&mut self) -> Result<&(SessionId, Key), NoEntropy> {
        if self.name.is_none() {
            self.adopt(SessionId::generate()?);
        }
        self.name.as_ref().ok_or(NoEntropy)
    }

    /// Forgets the id, so that the next one to ask gets a new one.
    pub(super) fn abandon(&mut self) -> Option<Key> {
        self.carried = false;
        self.stored = false;
        self.text.clear();
        self.name.take().map(|(_, key)| key)
    }

    /// Something is stored under the id; the cookie's text is to say so.
    pub(super) fn note_stored(&mut self) {
        if !std::mem::replace(&mut self.stored, true) {
            self.text.clear();
        }
    }

    /// The store knows of a renewal at `now`; the cookie's text is to say so.
    pub(super) fn renew(&mut self, now: Timestamp) {
        self.renewed = now;
        self.text.clear();
    }

    /// Whether the browser does not know yet what the store knows: a new id under which something is
    /// `stored`, or a renewal.
    pub(super) fn is_news(&self, stored: bool) -> bool {
        if self.carried {
            self.text.is_empty()
        } else {
            stored
        }
    }

    /// The value of the cookie to send: the one that came, if it still says what is true.
    pub(super) fn text(&mut self, engine: &Engine, now: Timestamp) -> Result<&[u8], SessionError> {
        let (id, _) = self.ensure()?;
        let id = id.clone();
        if self.text.is_empty() {
            if !self.carried {
                self.renewed = now;
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

    fn adopt(&mut self, id: SessionId) {
        let key = id.key();
        self.name = Some((id, key));
    }
}
