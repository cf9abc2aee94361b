//! A client-side store by itself: bound to keys, and asked for one request after the other.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use hyper_session::{
    cookie::{Attributes, CookieName},
    id::{Key, SessionId},
    seal::{KeyRing, SealKey},
    store::{Attached, Binding, Bound, ClientSide, CookieStore, Expected, Read, Store, Written},
};

use super::KEY;

pub const AGE: Duration = Duration::from_secs(7200);

pub fn ring(text: &str) -> KeyRing {
    KeyRing::new(SealKey::from_text(text).unwrap())
}

/// The store under these keys and this name of the id cookie.
pub fn bind_as(store: &CookieStore, keys: &KeyRing, name: &str) -> Box<dyn Bound> {
    let binding = Binding {
        keys,
        name: &CookieName::new(name).unwrap(),
        attributes: &Attributes::default(),
        clear_with_browser: false,
        longest: AGE,
    };
    store.bind(&binding).unwrap()
}

pub fn bind(store: &CookieStore) -> Box<dyn Bound> {
    bind_as(store, &ring(KEY), "session")
}

pub fn key() -> Key {
    SessionId::generate().unwrap().key()
}

/// One request with these cookies, in one line.
pub fn visit(bound: &dyn Bound, cookies: &str) -> Arc<dyn Attached> {
    let line = HeaderValue::from_str(cookies).unwrap();
    let lines = [line];
    let came = if cookies.is_empty() { &[][..] } else { &lines };
    bound.attach(came)
}

/// The pairs that a request sets, removals as empty values.
pub fn pairs(attached: &dyn Attached) -> Vec<String> {
    let set = attached.outgoing().unwrap();
    let pair = |line: &HeaderValue| {
        let line = line.to_str().unwrap();
        line.split("; ").next().unwrap().to_owned()
    };
    set.iter().map(pair).collect()
}

/// The cookies of a new session that holds `data`.
pub async fn seal(bound: &dyn Bound, key: &Key, data: &str) -> Vec<String> {
    let attached = visit(bound, "");
    let data = data.to_owned().into();
    let written = attached.write(key, data, AGE, Expected::Absent).await;
    assert!(matches!(written.unwrap(), Written::Done(_)));
    pairs(&*attached)
}

/// What these cookies hold for `key`, and why they hold nothing.
pub async fn open(bound: &dyn Bound, key: &Key, cookies: &str) -> Result<String, Option<String>> {
    let attached = visit(bound, cookies);
    match attached.read(key, None).await.unwrap() {
        Read::Found(record) => Ok(String::from_utf8(record.data.to_vec()).unwrap()),
        Read::Absent | Read::Gone => Err(attached.rejected().map(str::to_owned)),
    }
}

/// The reason for which cookies are refused.
pub async fn refused(bound: &dyn Bound, key: &Key, cookies: &str) -> String {
    let refused = open(bound, key, cookies).await.unwrap_err();
    refused.expect("there is a reason")
}
