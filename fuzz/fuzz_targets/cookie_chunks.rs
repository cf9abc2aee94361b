//! The data cookies of two responses, mixed, repeated and with parts left out. Only a whole session of one
//! response opens. Of two whole ones, the newest opens.
#![no_main]

use std::{
    future::Future,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
    time::Duration,
};

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::HeaderValue;
use hyper_session::{
    cookie::{Attributes, CookieName},
    id::{SessionId, StoreKey},
    seal::{KeyRing, SealKey},
    store::{
        BoundStore, ClientSideStore, CookieContext, CookieStore, Expected, ReadOutcome, Store,
        WriteRequest,
    },
};
use libfuzzer_sys::fuzz_target;

const AGE: Duration = Duration::from_secs(7200);

static BOUND: LazyLock<Box<dyn BoundStore>> = LazyLock::new(|| {
    let key = SealKey::from_text("the first key, which seals and opens").expect("it is long");
    let keys = KeyRing::new(key);
    let name = CookieName::new("s").expect("it is a name");
    let attributes = Attributes::default();
    let context = CookieContext::new(&keys, &name, &attributes, AGE);
    let store = CookieStore::new().max_chunks(8);
    store.bind(&context).expect("the settings are right")
});

fuzz_target!(|input: &[u8]| {
    let _ = run(&mut Unstructured::new(input));
});

fn run(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let key = SessionId::from_bytes([7; 16]).store_key();
    let records = [record(input)?, record(input)?];
    let cookies = records.clone().map(|record| seal(&key, &record));
    let mut sent: Vec<String> = Vec::new();
    // A whole response first, or any selection.
    let first: Option<usize> =
        bool::arbitrary(input)?.then_some(usize::from(bool::arbitrary(input)?));
    if let Some(first) = first {
        sent.extend(cookies[first].clone());
    }
    for _ in 0..input.int_in_range(0..=20)? {
        sent.push(changed(input, &cookies)?);
    }
    let opened = open(&key, &lines(input, &sent)?);
    if let Some(opened) = &opened {
        assert!(records.contains(opened), "a mixture opened");
    }
    if let Some(first) = first {
        assert!(opened.is_some(), "a whole session did not open");
        if first == 1 {
            assert_eq!(
                opened.as_ref(),
                Some(&records[1]),
                "the newest did not open"
            );
        }
    }
    Ok(())
}

/// Returns a record that fits into eight cookies.
fn record(input: &mut Unstructured<'_>) -> arbitrary::Result<Bytes> {
    let len = usize::from(u16::arbitrary(input)?) % 22_000;
    let seed = u8::arbitrary(input)?;
    Ok((0..len).map(|at| seed.wrapping_add(at as u8)).collect())
}

/// Returns a cookie of one of the responses, as it was or changed.
fn changed(input: &mut Unstructured<'_>, cookies: &[Vec<String>; 2]) -> arbitrary::Result<String> {
    let response = &cookies[usize::from(bool::arbitrary(input)?)];
    let cookie = input.choose(response)?;
    let (name, value) = cookie.split_once('=').expect("a pair");
    Ok(match input.int_in_range(0..=4)? {
        // Under the name of another chunk.
        0 => format!("s-data.{}={value}", input.int_in_range(0..=9)?),
        1 => format!("s-data={value}"),
        2 => format!("{name}={}", &value[..input.int_in_range(0..=value.len())?]),
        3 => format!("{name}={}{value}", input.int_in_range(0..=99)?),
        _ => cookie.clone(),
    })
}

/// Distributes the cookies over header lines, in their order.
fn lines(input: &mut Unstructured<'_>, cookies: &[String]) -> arbitrary::Result<Vec<HeaderValue>> {
    let per_line = input.int_in_range(1..=10)?;
    let lines = cookies.chunks(per_line).map(|line| line.join("; "));
    Ok(lines
        .map(|line| line.parse().expect("visible text"))
        .collect())
}

fn seal(key: &StoreKey, record: &Bytes) -> Vec<String> {
    let attached = BOUND.attach(&[]);
    let request = WriteRequest::new(key, record.clone(), AGE, Expected::Absent);
    ready(attached.write(request)).expect("it is not too large");
    let set = attached.set_cookies(false).expect("it can be sealed");
    let pair = |line: &HeaderValue| {
        let line = line.to_str().expect("visible text");
        line.split(';').next().unwrap_or_default().to_owned()
    };
    set.iter().map(pair).collect()
}

fn open(key: &StoreKey, lines: &[HeaderValue]) -> Option<Bytes> {
    let attached = BOUND.attach(lines);
    match ready(attached.read(key, None)).expect("no store is read") {
        ReadOutcome::Found(record) => Some(record.data),
        ReadOutcome::Absent | ReadOutcome::Gone => None,
    }
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is pending"),
    }
}
