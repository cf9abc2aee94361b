//! A client-side store by itself: bound to keys, and asked for one request after the other.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use hyper_session::{
    cookie::{Attributes, CookieName},
    id::{SessionId, StoreKey},
    seal::{KeyRing, SealKey},
    store::{
        BoundStore, ClientSideStore, CookieContext, CookieStore, Expected, ReadOutcome,
        RequestStore, Store, WriteOutcome,
    },
};

use super::KEY;

pub const AGE: Duration = Duration::from_secs(7200);

pub fn ring(text: &str) -> KeyRing {
    KeyRing::new(SealKey::from_text(text).unwrap())
}

/// The store under these keys and this name of the id cookie.
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
    bind_as(store, &ring(KEY), "session")
}

pub fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

/// One request with these cookies, in one line.
pub fn visit(bound: &dyn BoundStore, cookies: &str) -> Arc<dyn RequestStore> {
    let line = HeaderValue::from_str(cookies).unwrap();
    let lines = [line];
    let came = if cookies.is_empty() { &[][..] } else { &lines };
    bound.attach(came)
}

/// The pairs that a request sets, removals as empty values.
pub fn pairs(attached: &dyn RequestStore) -> Vec<String> {
    let set = attached.set_cookies().unwrap();
    let pair = |line: &HeaderValue| {
        let line = line.to_str().unwrap();
        line.split("; ").next().unwrap().to_owned()
    };
    set.iter().map(pair).collect()
}

/// The cookies of a new session that holds `data`.
pub async fn seal(bound: &dyn BoundStore, key: &StoreKey, data: &str) -> Vec<String> {
    let attached = visit(bound, "");
    let data = data.to_owned().into();
    let written = attached.write(key, data, AGE, Expected::Absent).await;
    assert!(matches!(written.unwrap(), WriteOutcome::Done(_)));
    pairs(&*attached)
}

/// What these cookies hold for `key`, and why they hold nothing.
pub async fn open(
    bound: &dyn BoundStore,
    key: &StoreKey,
    cookies: &str,
) -> Result<String, Option<String>> {
    let attached = visit(bound, cookies);
    match attached.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => Ok(String::from_utf8(record.data.to_vec()).unwrap()),
        ReadOutcome::Absent | ReadOutcome::Gone => Err(attached.rejection().map(str::to_owned)),
    }
}

/// The reason for which cookies are refused.
pub async fn refused(bound: &dyn BoundStore, key: &StoreKey, cookies: &str) -> String {
    let refused = open(bound, key, cookies).await.unwrap_err();
    refused.expect("there is a reason")
}
