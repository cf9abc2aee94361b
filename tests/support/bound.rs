//! A client-side store without a service: bound to keys, and attached to single requests.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use hyper_session::{
    cookie::{Attributes, CookieName},
    id::{SessionId, StoreKey},
    seal::{KeyRing, SealKey},
    store::{
        BoundStore, ClientSideStore, CookieContext, CookieStore, Expected, ReadOutcome,
        RequestStore, Store, WriteOutcome, WriteRequest,
    },
};

use super::KEY;

pub const AGE: Duration = Duration::from_secs(7200);

pub fn key_ring(text: &str) -> KeyRing {
    KeyRing::new(SealKey::from_text(text).unwrap())
}

/// Binds a store to these keys and this name of the id cookie.
pub fn bind_as(store: &CookieStore, keys: &KeyRing, name: &str) -> Box<dyn BoundStore> {
    store
        .bind(&CookieContext::new(
            keys,
            &CookieName::new(name).unwrap(),
            &Attributes::default(),
            AGE,
        ))
        .unwrap()
}

pub fn bind(store: &CookieStore) -> Box<dyn BoundStore> {
    bind_as(store, &key_ring(KEY), "session")
}

pub fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

/// Attaches the store to a request with these cookies in one line.
pub fn attach(bound: &dyn BoundStore, cookies: &str) -> Arc<dyn RequestStore> {
    let line = HeaderValue::from_str(cookies).unwrap();
    let one = [line];
    let lines = if cookies.is_empty() { &[][..] } else { &one };
    bound.attach(lines)
}

/// Returns the pairs of name and value that a request sets. A removal is an empty value.
pub fn pairs(attached: &dyn RequestStore) -> Vec<String> {
    let set = attached.set_cookies(false).unwrap();
    let pair = |line: &HeaderValue| {
        let line = line.to_str().unwrap();
        line.split("; ").next().unwrap().to_owned()
    };
    set.iter().map(pair).collect()
}

/// Returns the cookies of a new session with `data`.
pub async fn seal(bound: &dyn BoundStore, key: &StoreKey, data: &str) -> Vec<String> {
    let attached = attach(bound, "");
    let request = WriteRequest::new(key, data.to_owned(), AGE, Expected::Absent);
    let written = attached.write(request).await;
    assert!(matches!(written.unwrap(), WriteOutcome::Done(_)));
    pairs(&*attached)
}

/// Returns the data in these cookies for `key`, or the reason why there is none.
pub async fn open(
    bound: &dyn BoundStore,
    key: &StoreKey,
    cookies: &str,
) -> Result<String, Option<String>> {
    let attached = attach(bound, cookies);
    match attached.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => Ok(String::from_utf8(record.data.to_vec()).unwrap()),
        ReadOutcome::Absent | ReadOutcome::Gone => Err(attached.rejection().map(str::to_owned)),
    }
}

/// Returns the reason why these cookies are rejected.
pub async fn rejection(bound: &dyn BoundStore, key: &StoreKey, cookies: &str) -> String {
    let reason = open(bound, key, cookies).await.unwrap_err();
    reason.expect("there is a reason")
}
