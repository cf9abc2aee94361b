//! Several cookies of the session's name in one request.
//!
//! A browser sends a cookie of a longer path or of this host only before the others, for as long as it
//! lives. So the first cookie may be of a session that has ended, while the visitor has signed in to
//! another. The load looks up one after the other until a session is alive.

use std::collections::VecDeque;

use crate::{
    id::StoreKey,
    session::engine::Engine,
    wire::{CookieText, OpenedIdCookie},
};

/// Maximum number of ids of one request that are looked up in the store. One that was never stored is looked up
/// after them. So as many dead sessions in front hide a living one.
const MAX_LOOKUPS: usize = 4;

/// An authenticated cookie of a request.
#[derive(Clone, Debug)]
pub(super) struct IdCandidate {
    pub(super) opened: OpenedIdCookie,
    pub(super) key: StoreKey,
    pub(super) text: CookieText,
}

impl IdCandidate {
    pub(super) fn open(engine: &Engine, text: &CookieText) -> Result<Self, &'static str> {
        let (opened, key) = open_cookie(engine, text)?;
        let text = text.clone();
        Ok(Self { opened, key, text })
    }

    fn is_stored(&self) -> bool {
        self.opened.cookie.lifetime.is_some()
    }
}

/// Opens an id cookie, through the cache. Returns it with the key of its id.
#[inline]
pub(super) fn open_cookie(
    engine: &Engine,
    text: &[u8],
) -> Result<(OpenedIdCookie, StoreKey), &'static str> {
    if let Some(cached) = engine.cookie_cache.get(text) {
        return Ok(cached);
    }
    let opened = engine.format.open_id(text)?;
    let key = opened.cookie.id.store_key();
    engine.cookie_cache.insert(text, &opened, key);
    Ok((opened, key))
}

/// The candidates of a request with several ids, while it is open which of them is alive.
#[derive(Clone, Debug, Default)]
pub(super) struct CandidateQueue {
    remaining: VecDeque<IdCandidate>,
    /// The first candidate that was looked up and never stored.
    never_stored: Option<IdCandidate>,
    lookups: usize,
}

impl CandidateQueue {
    /// Queues the candidates in the order of the lookups: those that were sealed as stored, then the
    /// others. Of two with the same id, one is kept.
    pub(super) fn new(candidates: impl Iterator<Item = IdCandidate>) -> Self {
        let mut remaining: VecDeque<IdCandidate> = VecDeque::new();
        for candidate in candidates {
            match remaining.iter_mut().find(|it| it.key == candidate.key) {
                Some(same) if candidate.is_stored() && !same.is_stored() => *same = candidate,
                Some(_) => {}
                None => remaining.push_back(candidate),
            }
        }
        remaining
            .make_contiguous()
            .sort_by_key(|candidate| !candidate.is_stored());
        Self {
            remaining,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Returns the next candidate to look up, within the limit. Dead sessions use up the limit, but the next candidate
    /// that was never stored is looked up still: the CSRF tokens of a visitor without a session depend on it.
    pub(super) fn pop(&mut self) -> Option<IdCandidate> {
        let next = match self.lookups {
            ..MAX_LOOKUPS => 0,
            MAX_LOOKUPS if self.never_stored.is_none() => {
                self.remaining.iter().position(|it| !it.is_stored())?
            }
            _ => return None,
        };
        self.lookups += 1;
        self.remaining.remove(next)
    }

    /// Records a candidate that is in no store. Its cookie was sealed before anything was stored.
    pub(super) fn keep_never_stored(&mut self, candidate: IdCandidate) {
        self.never_stored.get_or_insert(candidate);
    }

    /// Returns the candidate to adopt if none is alive: the first one that was looked up and never stored.
    pub(super) fn into_never_stored(self) -> Option<IdCandidate> {
        self.never_stored
    }
}
