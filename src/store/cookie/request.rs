//! The cookie store within one request.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use http::HeaderValue;
use smallvec::SmallVec;

use super::{
    CookieStoreError, STORE_NAME,
    payload::{Payload, PayloadBody},
    received::ReceivedPayloads,
    shared::Shared,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    seal::{Buffer, Codec},
    store::{
        Capabilities, CookieLines, Expected, Expiry, ReadOutcome, Record, RequestStore, SetCookies,
        Store, StoreError, StoreFuture, TagStore, WriteOutcome, WriteRequest,
    },
    sync,
};

/// The cookie store of one request: the data cookie that arrived, and the one to send.
///
/// Writes check the size at once. The payload is sealed once, when the response is built.
pub(super) struct CookieRequestStore {
    /// For futures, which own the store.
    weak: Weak<Self>,
    pub(super) shared: Arc<Shared>,
    lines: CookieLines,
    state: Mutex<DataCookieState>,
}

/// The data cookie that the browser has after the response.
#[derive(Default)]
pub(super) struct DataCookieState {
    /// The payloads that may still be selected. `None` until the cookies are opened.
    received: Option<ReceivedPayloads>,
    pub(super) payload: Option<Payload>,
    action: DataCookieAction,
    pub(super) rejection: Option<&'static str>,
}

#[derive(Clone, Copy, Default)]
enum DataCookieAction {
    #[default]
    Keep,
    Set,
    Remove,
}

impl CookieRequestStore {
    pub(super) fn new(shared: Arc<Shared>, lines: &[HeaderValue]) -> Arc<Self> {
        Arc::new_cyclic(|weak| Self {
            weak: weak.clone(),
            shared,
            lines: lines.into(),
            state: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, DataCookieState> {
        sync::lock(&self.state)
    }

    /// Returns a future that owns this store, for operations on a backing store.
    pub(super) fn with_self<T, F>(&self, operation: impl FnOnce(Arc<Self>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match self.weak.upgrade() {
            Some(this) => StoreFuture::new(operation(this)),
            None => CookieStoreError::Unbound.into_future("answer"),
        }
    }

    /// Returns the live session under `key`, from the cookie alone. Backing stores are not queried.
    pub(super) fn payload(&self, key: &StoreKey, now: Timestamp) -> Option<Payload> {
        self.live_payload(&mut self.state(), key, now).cloned()
    }

    fn live_payload<'a>(
        &self,
        state: &'a mut DataCookieState,
        key: &StoreKey,
        now: Timestamp,
    ) -> Option<&'a Payload> {
        if state.payload.is_none() {
            self.select(state, key, now);
        }
        let payload = state.payload.as_ref();
        payload.filter(|payload| payload.key == *key && now < payload.expires_at)
    }

    /// Opens the data cookies of the request, once.
    fn received<'a>(&self, state: &'a mut DataCookieState) -> &'a mut ReceivedPayloads {
        let DataCookieState {
            received,
            rejection,
            ..
        } = state;
        received.get_or_insert_with(|| {
            let (payloads, reason) = self.shared.open_cookies(&self.lines);
            *rejection = reason;
            payloads
        })
    }

    /// Makes the received payload of the session under `key` the payload of this request, unless it has
    /// expired.
    fn select(&self, state: &mut DataCookieState, key: &StoreKey, now: Timestamp) {
        let Some(received) = self.received(state).take(key) else {
            return;
        };
        let mut payload = received.payload;
        if let Some(revocation) = &self.shared.revocation {
            payload.expires_at = revocation.expiry(&payload);
        }
        if payload.expires_at <= now {
            state.rejection = Some("data_expired");
            return;
        }
        state.payload = Some(payload);
        state.rejection = None;
        state.action = match received.first_key {
            true => DataCookieAction::Keep,
            false => DataCookieAction::Set,
        };
    }

    /// Replaces the payload that the response sends. No received payload can replace it.
    pub(super) fn set_payload(&self, payload: Payload) {
        let mut state = self.state();
        state.received.get_or_insert_default().clear();
        state.payload = Some(payload);
        state.action = DataCookieAction::Set;
    }

    /// Sets the payload with a new expiry.
    pub(super) fn renew(&self, mut payload: Payload, now: Timestamp, ttl: Duration) {
        payload.sealed_at = now;
        payload.expires_at = now.saturating_add(ttl);
        self.set_payload(payload);
    }

    fn seal(&self, payload: &Payload, clear_with_browser: bool) -> Result<SetCookies, StoreError> {
        let failed = |error| StoreError::new(STORE_NAME, "seal", error);
        let shared = &*self.shared;
        let cookies = shared.chunks.cookies_for(Codec::sealed_len(payload.len()));
        let plain = payload.encode(u8::try_from(cookies).unwrap_or(u8::MAX));
        let mut text = Buffer::new();
        let sealed = shared.codec.seal(&plain, &mut text);
        sealed.map_err(|error| StoreError::new(STORE_NAME, "seal", error))?;
        let ttl = payload.expires_at.duration_since(shared.clock.now());
        let max_age = (!clear_with_browser).then_some(ttl);
        shared
            .chunks
            .set(&text, max_age, &self.lines)
            .map_err(failed)
    }
}

impl DataCookieState {
    /// Makes the response remove the cookie.
    pub(super) fn remove(&mut self) {
        self.received.get_or_insert_default().clear();
        self.reject();
    }

    /// Makes the response remove the cookie, unless another session of the request is read.
    pub(super) fn reject(&mut self) {
        self.payload = None;
        self.action = DataCookieAction::Remove;
    }
}

impl RequestStore for CookieRequestStore {
    fn set_cookies(&self, clear_with_browser: bool) -> Result<SetCookies, StoreError> {
        let state = self.state();
        match (state.action, &state.payload) {
            (DataCookieAction::Keep, _) => Ok(SetCookies::new()),
            (DataCookieAction::Set, Some(payload)) => self.seal(payload, clear_with_browser),
            (DataCookieAction::Set | DataCookieAction::Remove, _) => {
                Ok(self.shared.chunks.remove(&self.lines))
            }
        }
    }

    fn rejection(&self) -> Option<&'static str> {
        self.state().rejection
    }

    fn remaining_ttl(&self, key: &StoreKey) -> Option<Duration> {
        let (mut state, now) = (self.state(), self.shared.clock.now());
        let payload = self.live_payload(&mut state, key, now)?;
        Some(payload.expires_at.duration_since(now))
    }
}

impl Store for CookieRequestStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let (key, now) = (*key, self.shared.clock.now());
        let read_with_backing =
            || self.with_self(|this| async move { this.read_with_backing(key, now, touch).await });
        let mut state = self.state();
        // Of several id cookies, the one before may have been of a session that is dead.
        if state.payload.as_ref().is_some_and(|it| it.key != key) {
            self.select(&mut state, &key, now);
        }
        if self.shared.revocation.is_some() {
            drop(state);
            return read_with_backing();
        }
        let Some(payload) = self.live_payload(&mut state, &key, now) else {
            return StoreFuture::ready(Ok(ReadOutcome::Absent));
        };
        let PayloadBody::Inline(data) = payload.body.clone() else {
            return read_with_backing();
        };
        let record = Record::new(data, payload.version).tags(payload.tags.clone());
        if let Some(ttl) = touch {
            let payload = payload.clone();
            drop(state);
            self.renew(payload, now, ttl);
        }
        StoreFuture::ready(Ok(ReadOutcome::Found(record)))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let (key, now) = (request.key, self.shared.clock.now());
        let mut state = self.state();
        let live = self.live_payload(&mut state, &key, now);
        let expires_at = match (request.expiry, request.expected, live) {
            (Expiry::Keep, _, None) | (_, Expected::Version(_), None) => {
                return StoreFuture::ready(Ok(WriteOutcome::Gone));
            }
            (Expiry::Keep, _, Some(live)) => live.expires_at,
            (Expiry::After(ttl), ..) => now.saturating_add(ttl),
        };
        // If the session gets a new key, its payload has the previous one.
        let source = state.payload.clone();
        drop(state);
        let mut payload = Payload {
            key,
            version: self.shared.versions.next(now, source.as_ref()),
            sealed_at: now,
            expires_at,
            tagged_at: SmallVec::from_elem(now, request.tags.len()),
            tags: request.tags,
            body: PayloadBody::Inline(request.data),
        };
        let overflow = match self.shared.overflow_for(&payload) {
            Ok(overflow) => overflow,
            Err(error) => return StoreFuture::ready(Err(error)),
        };
        if overflow.is_some() || self.shared.revocation.is_some() {
            return self.with_self(|this| async move {
                this.write_with_backing(payload, source, overflow, now)
                    .await
            });
        }
        if let Some(source) = &source {
            payload.keep_tag_times(source);
        }
        let version = payload.version;
        self.set_payload(payload);
        StoreFuture::ready(Ok(WriteOutcome::Done(version)))
    }

    /// Removes the cookie, unless it already belongs to the session's new key, and destroys the
    /// session in the backing stores.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        // Opens the cookie, so that `payload` is set.
        let _ = self.payload(&key, self.shared.clock.now());
        let mut state = self.state();
        if state.payload.as_ref().is_none_or(|it| it.key == key) {
            state.remove();
        }
        drop(state);
        if self.shared.revocation.is_none() && self.shared.overflow.is_none() {
            return StoreFuture::ready(Ok(()));
        }
        let shared = self.shared.clone();
        StoreFuture::new(async move { shared.destroy(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let (key, now) = (*key, self.shared.clock.now());
        match self.payload(&key, now) {
            None => StoreFuture::ready(Ok(false)),
            Some(payload)
                if self.shared.revocation.is_none()
                    && matches!(payload.body, PayloadBody::Inline(_)) =>
            {
                self.renew(payload, now, ttl);
                StoreFuture::ready(Ok(true))
            }
            Some(_) => {
                self.with_self(|this| async move { this.touch_with_backing(key, now, ttl).await })
            }
        }
    }

    fn name(&self) -> &'static str {
        STORE_NAME
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(&*self.shared)
    }
}
