//! Fuzzes the `Cookie` lines of the cookie store. Made-up lines never open a session. Sealed cookies
//! open until one of their bytes changes, whatever cookies surround them.
#![no_main]

use std::{
    future::Future,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use hyper_session::{
    cookie::{Attributes, CookieName},
    id::{SessionId, StoreKey},
    seal::{KeyRing, SealKey},
    store::{
        BoundStore, ClientSideStore, CookieContext, CookieStore, Expected, ReadOutcome, Record,
        Store, Tag, Tags, WriteRequest,
    },
};
use libfuzzer_sys::fuzz_target;

const AGE: Duration = Duration::from_secs(7200);

static BOUND: LazyLock<Box<dyn BoundStore>> = LazyLock::new(|| {
    let key = SealKey::from_text("the first key, which seals and opens").expect("it is long");
    let store = CookieStore::new().max_chunks(8);
    store
        .bind(&CookieContext::new(
            &KeyRing::new(key),
            &CookieName::new("s").expect("it is a name"),
            &Attributes::default(),
            AGE,
        ))
        .expect("the settings are right")
});

// Input: two bytes for the length of the record (the first also for the length of its tag), two for the
// position of the changed byte, one for its change, then header lines.
fuzz_target!(|data: &[u8]| {
    let [a, b, c, d, change, rest @ ..] = data else {
        return;
    };
    let key = SessionId::from_bytes([7; 16]).store_key();
    let lines = rest.split(|&byte| byte == b'\n');
    let made_up: Vec<HeaderValue> = lines
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    assert!(open(&key, &made_up).is_none());

    let len = usize::from(u16::from_le_bytes([*a, *b])) % 20_000;
    let record: Bytes = rest.iter().copied().cycle().take(len).collect();
    let tag = Tag::new("t".repeat(usize::from(*a) + 1)).expect("it is not too long");
    let mut tags = Tags::new();
    tags.insert(&tag).expect("it is the first");
    let mut pairs = seal(&key, &record, &tags);
    let sealed: Vec<HeaderValue> = pairs.iter().map(|pair| line(pair)).collect();
    // Made-up cookies with the store's names may hide the sealed ones, but never replace them.
    let mixed: Vec<HeaderValue> = made_up.iter().chain(&sealed).cloned().collect();
    let is_sealed = |opened: &Record| opened.data == record && opened.tags == tags;
    assert!(open(&key, &mixed).is_none_or(|opened| is_sealed(&opened)));
    assert!(open(&key, &sealed).is_some_and(|opened| is_sealed(&opened)));

    let at = usize::from(u16::from_le_bytes([*c, *d]));
    let pair = at % pairs.len();
    let start = pairs[pair]
        .iter()
        .position(|&byte| byte == b'=')
        .expect("a value")
        + 1;
    let at = start + at % (pairs[pair].len() - start);
    pairs[pair][at] ^= (*change).max(1);
    let changed: Vec<HeaderValue> = pairs
        .iter()
        .filter_map(|pair| HeaderValue::from_bytes(pair).ok())
        .collect();
    assert!(open(&key, &changed).is_none());
});

fn line(pair: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(pair).expect("a cookie that was set is a header value")
}

fn seal(key: &StoreKey, record: &Bytes, tags: &Tags) -> Vec<Vec<u8>> {
    let attached = BOUND.attach(&[]);
    let request = WriteRequest::new(key, record.clone(), AGE, Expected::Absent);
    let written = ready(attached.write(request.tags(tags.clone())));
    written.expect("it is not too large");
    let set = attached.set_cookies(false).expect("it can be sealed");
    let pair = |line: &HeaderValue| {
        let pair = line.as_bytes().split(|&byte| byte == b';').next();
        pair.unwrap_or_default().to_vec()
    };
    set.iter().map(pair).collect()
}

fn open(key: &StoreKey, lines: &[HeaderValue]) -> Option<Record> {
    let attached = BOUND.attach(lines);
    match ready(attached.read(key, None)).expect("no store is read") {
        ReadOutcome::Found(record) => Some(record),
        ReadOutcome::Absent | ReadOutcome::Gone => None,
    }
}

/// Returns the output of a future that is ready at once. Without backing stores, every future of the
/// store is.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is pending"),
    }
}
