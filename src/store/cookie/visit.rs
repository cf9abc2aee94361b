//! The store in one request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;

use super::{
    CookieStoreError, NAME,
    bound::Shared,
    contents::{Body, Contents},
    pieces::Found,
    there::Fit,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    seal::{Buffer, Codec, OpenReason},
    store::{
        Capabilities, CookieLines, Expected, ReadOutcome, Record, RequestStore, SetCookies, Store,
        StoreError, StoreFuture, TagStore, WriteOutcome,
    },
};

/// One request's data cookie: what came, and what the response makes of it.
///
/// Sealing is done once, when the response is made; whether it will fit is known before.
pub(super) struct Visit {
    /// For answers that come later and have to be noted here.
    me: Weak<Self>,
    pub(super) shared: Arc<Shared>,
    lines: CookieLines,
    held: Mutex<Held>,
}

/// What the browser holds once it has the response.
#[derive(Default)]
pub(super) struct Held {
    looked: bool,
    pub(super) contents: Option<Contents>,
    /// Whose place `contents` took: the same session under its old key.
    pub(super) before: Option<Box<Contents>>,
    change: Change,
    pub(super) rejected: Option<&'static str>,
}

#[derive(Clone, Copy, Default)]
enum Change {
    #[default]
    Nothing,
    Set,
    Remove,
}

impl Visit {
    pub(super) fn new(shared: Arc<Shared>, lines: &[HeaderValue]) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            shared,
            lines: lines.into(),
            held: Mutex::default(),
        })
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer that needs another store first.
    pub(super) fn later<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match self.me.upgrade() {
            Some(me) => StoreFuture::new(work(me)),
            None => CookieStoreError::Unbound.answer("answer"),
        }
    }

    /// What the browser holds of the session under `key`, as far as the browser itself can tell.
    pub(super) fn current(&self, key: &StoreKey, now: Timestamp) -> Option<Contents> {
        self.peek(&mut self.held(), key, now).cloned()
    }

    fn peek<'a>(&self, held: &'a mut Held, key: &StoreKey, now: Timestamp) -> Option<&'a Contents> {
        if !std::mem::replace(&mut held.looked, true) {
            self.look(held, key, now);
        }
        let contents = held.contents.as_ref();
        contents.filter(|contents| contents.key == *key && now < contents.expires)
    }

    /// Opens the first of the request's data cookies that is this session's.
    fn look(&self, held: &mut Held, key: &StoreKey, now: Timestamp) {
        for found in self.shared.pieces.find(&self.lines) {
            match self.open(found, key, now) {
                Ok((contents, first_key)) => {
                    held.contents = Some(contents);
                    held.rejected = None;
                    if !first_key {
                        held.change = Change::Set;
                    }
                    return;
                }
                Err(reason) => held.rejected = Some(reason),
            }
        }
    }

    /// The contents of a text, and whether the first key sealed it.
    fn open(
        &self,
        found: Option<Found<'_>>,
        key: &StoreKey,
        now: Timestamp,
    ) -> Result<(Contents, bool), &'static str> {
        let found = found.ok_or("data_incomplete")?;
        let (plain, first_key) = match self.shared.memo.get(&found.text) {
            Some(known) => known,
            None => self.unseal(&found)?,
        };
        let mut contents = Contents::decode(plain, found.cookies).ok_or("data_foreign")?;
        if contents.key != *key {
            return Err("data_of_another_session");
        }
        if let Some(revoked) = &self.shared.revoked {
            contents.expires = revoked.expiry(&contents);
        }
        if contents.expires <= now {
            return Err("data_expired");
        }
        Ok((contents, first_key))
    }

    fn unseal(&self, found: &Found<'_>) -> Result<(Bytes, bool), &'static str> {
        let mut plain = Buffer::new();
        let opened = self.shared.codec.open(&found.text, &mut plain);
        let opened = opened.map_err(|error| reason(error.reason()))?;
        let plain = Bytes::from(plain.into_vec());
        if found.cookies == 1 {
            self.shared.memo.note(&found.text, &plain, opened.first_key);
        }
        Ok((plain, opened.first_key))
    }

    /// The browser gets these contents.
    pub(super) fn keep(&self, contents: Contents) {
        let mut held = self.held();
        let before = held.contents.replace(contents);
        let moved = |before: &Contents| {
            let now = held.contents.as_ref();
            now.is_some_and(|now| now.key != before.key)
        };
        if let Some(before) = before.filter(moved) {
            held.before = Some(Box::new(before));
        }
        held.change = Change::Set;
    }

    pub(super) fn prolong(&self, mut contents: Contents, now: Timestamp, ttl: Duration) {
        contents.sealed = now;
        contents.expires = now.saturating_add(ttl);
        self.keep(contents);
    }

    fn sealed(&self, contents: &Contents) -> Result<SetCookies, StoreError> {
        let failed = |error| StoreError::new(NAME, "seal", error);
        let shared = &*self.shared;
        let cookies = shared.pieces.needed(Codec::sealed_len(contents.len()));
        let plain = contents.encode(u8::try_from(cookies).unwrap_or(u8::MAX));
        let mut text = Buffer::new();
        let sealed = shared.codec.seal(&plain, &mut text);
        sealed.map_err(|error| StoreError::new(NAME, "seal", error))?;
        let life = contents.expires.duration_since(shared.clock.now());
        let max_age = (!shared.clear_with_browser).then_some(life);
        shared
            .pieces
            .set(&text, max_age, &self.lines)
            .map_err(failed)
    }
}

/// Why a text did not open, as an event tells it: of the id cookie's reasons it must be told apart.
const fn reason(reason: OpenReason) -> &'static str {
    match reason {
        OpenReason::TooShort => "data_too_short",
        OpenReason::TooLong => "data_too_long",
        OpenReason::Encoding => "data_encoding",
        OpenReason::UnknownVersion => "data_unknown_version",
        OpenReason::UnknownKey => "data_unknown_key",
        OpenReason::Forged => "data_forged",
    }
}

impl Held {
    pub(super) fn forget(&mut self) {
        self.contents = None;
        self.change = Change::Remove;
    }
}

impl RequestStore for Visit {
    fn set_cookies(&self) -> Result<SetCookies, StoreError> {
        let held = self.held();
        match (held.change, &held.contents) {
            (Change::Nothing, _) => Ok(SetCookies::new()),
            (Change::Set, Some(contents)) => self.sealed(contents),
            (Change::Set | Change::Remove, _) => Ok(self.shared.pieces.remove(&self.lines)),
        }
    }

    fn rejection(&self) -> Option<&'static str> {
        self.held().rejected
    }

    fn contains(&self, key: &StoreKey) -> bool {
        let now = self.shared.clock.now();
        self.peek(&mut self.held(), key, now).is_some()
    }
}

impl Store for Visit {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let (key, now) = (*key, self.shared.clock.now());
        let there = || self.later(|me| async move { me.read_there(key, now, touch).await });
        if self.shared.revoked.is_some() {
            return there();
        }
        let mut held = self.held();
        let Some(contents) = self.peek(&mut held, &key, now) else {
            return StoreFuture::ready(Ok(ReadOutcome::Absent));
        };
        let Body::Here(data) = contents.body.clone() else {
            return there();
        };
        let version = contents.version;
        if let Some(ttl) = touch {
            let contents = contents.clone();
            drop(held);
            self.prolong(contents, now, ttl);
        }
        StoreFuture::ready(Ok(ReadOutcome::Found(Record { data, version })))
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let now = self.shared.clock.now();
        let current = self.current(key, now);
        if let (Expected::Version(_), None) = (expected, &current) {
            return StoreFuture::ready(Ok(WriteOutcome::Gone));
        }
        let contents = Contents {
            key: *key,
            version: self.shared.stamps.next(now),
            sealed: now,
            expires: now.saturating_add(ttl),
            marks: current.map(|current| current.marks).unwrap_or_default(),
            body: Body::Here(data),
        };
        match (self.fits_or_fails(&contents, "write"), &self.shared.revoked) {
            (Fit::Here, None) => {
                let version = contents.version;
                self.keep(contents);
                StoreFuture::ready(Ok(WriteOutcome::Done(version)))
            }
            (Fit::Nowhere(error), _) => StoreFuture::ready(Err(error)),
            _ => self.later(|me| async move { me.write_there(contents, now).await }),
        }
    }

    /// The cookie goes, unless it is the one of the session's new key; the server takes note, where
    /// it keeps anything.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        let _ = self.current(&key, self.shared.clock.now());
        let mut held = self.held();
        if held.contents.as_ref().is_none_or(|it| it.key == key) {
            held.forget();
        }
        drop(held);
        if self.shared.revoked.is_none() && self.shared.overflow.is_none() {
            return StoreFuture::ready(Ok(()));
        }
        let shared = self.shared.clone();
        StoreFuture::new(async move { shared.end(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let (key, now) = (*key, self.shared.clock.now());
        match self.current(&key, now) {
            None => StoreFuture::ready(Ok(false)),
            Some(contents)
                if self.shared.revoked.is_none() && matches!(contents.body, Body::Here(_)) =>
            {
                self.prolong(contents, now, ttl);
                StoreFuture::ready(Ok(true))
            }
            Some(_) => self.later(|me| async move { me.touch_there(key, now, ttl).await }),
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }
}
