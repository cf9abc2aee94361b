//! Fuzzes the `Cookie` lines of the cookie store. Made-up lines never open a session. Sealed cookies
//! open until one of their bytes changes, whatever cookies surround them, unless 16 cookies of one name
//! come first.
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
    cookie::{Attributes, CookieName, MAX_CANDIDATES},
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
    let is_sealed = |opened: Record| opened.data == record && opened.tags == tags;
    // So many made-up cookies of one name may hide the sealed ones, but never replace them.
    let mixed: Vec<HeaderValue> = made_up.iter().chain(&sealed).cloned().collect();
    match open(&key, &mixed) {
        Some(opened) => assert!(is_sealed(opened)),
        None => assert!(max_values(&made_up) >= MAX_CANDIDATES),
    }
    let mixed: Vec<HeaderValue> = sealed.iter().chain(&made_up).cloned().collect();
    assert!(open(&key, &mixed).is_some_and(is_sealed));
    assert!(open(&key, &sealed).is_some_and(is_sealed));

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

/// Returns the maximum number of cookies of one of the store's names in some lines. Does not use the library's search.
fn max_values(lines: &[HeaderValue]) -> usize {
    let pairs = || {
        lines
            .iter()
            .flat_map(|line| line.as_bytes().split(|&b| b == b';'))
    };
    let names = |pair: &[u8]| {
        let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii().to_vec()
    };
    let of_name = |name: &[u8]| pairs().filter(|pair| names(pair) == name).count();
    let further = (1..8).map(|number| format!("s-data.{number}"));
    let counts = further.map(|name| of_name(name.as_bytes()));
    counts.max().unwrap_or_default().max(of_name(b"s-data"))
}

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
