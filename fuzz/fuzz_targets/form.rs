//! Any bytes as the input of a form: what is read keeps the limits, reads back as itself, and is the
//! same in whatever pieces it comes.
//!
//! The first byte chooses the media type and the size of the pieces; a first line is the query.
#![no_main]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hyper_session::form::{Input, InputError, InputLimits};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::Value;

const LIMITS: InputLimits = InputLimits::new()
    .bytes(600)
    .fields(12)
    .depth(4)
    .files(2)
    .file_bytes(300);

const KINDS: [&str; 4] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=b",
    "multipart/form-data; boundary=\"--\"",
];

/// A body in pieces.
struct Pieces(Bytes, usize);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.1.min(self.0.len());
        let piece = self.0.split_to(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// A type of every sort of member, to be read from whatever is there.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read and thrown away")]
struct Anything {
    a: Option<i16>,
    #[serde(default)]
    b: bool,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    items: Vec<Anything>,
    #[serde(default)]
    count: BTreeMap<u8, f32>,
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize)]
enum Kind {
    Plain,
    Number(#[allow(dead_code, reason = "read and thrown away")] u128),
}

/// Polls until it is ready: nothing here waits for anything but itself.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn read(kind: &str, query: &str, body: &[u8], piece: usize) -> Option<Result<Input, InputError>> {
    let body = Pieces(Bytes::copy_from_slice(body), piece);
    let request = Request::post(format!("/?{query}")).header("content-type", kind);
    let request = request.body(body).ok()?;
    Some(finish(Input::from_request(request, &LIMITS)))
}

fn measure(value: &Value) -> (usize, usize) {
    let inside: Vec<(usize, usize)> = match value {
        Value::Array(items) => items.iter().map(measure).collect(),
        Value::Object(members) => members.values().map(measure).collect(),
        _ => return (0, 1),
    };
    let depth = inside.iter().map(|(depth, _)| *depth).max();
    let leaves = inside.iter().map(|(_, leaves)| *leaves).sum();
    (depth.unwrap_or(0) + 1, leaves)
}

fuzz_target!(|data: &[u8]| {
    let [choice, rest @ ..] = data else {
        return;
    };
    let mut halves = rest.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (halves.next().unwrap_or_default(), halves.next());
    let (query, body) = second.map_or((&b""[..], first), |second| (first, second));
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let kind = KINDS[usize::from(choice % 4)];
    let Some(whole) = read(kind, query, body, usize::MAX) else {
        return;
    };
    let pieces = read(kind, query, body, usize::from(choice / 4).max(1)).expect("as before");
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.value(), pieces.value());
            assert_eq!(whole.files(), pieces.files());
            let (depth, leaves) = measure(whole.value());
            // A list of the values of one name is one level more than the name has.
            assert!(
                depth <= LIMITS.depth + 2 && leaves <= LIMITS.fields,
                "{whole:?}"
            );
            assert!(whole.value().get("_csrf").is_none());
            let again: Value = whole.deserialize().expect("it reads as it is");
            assert_eq!(&again, whole.value());
            let _ = whole.deserialize::<Anything>();
            let _ = whole.get::<u64>(query);
        }
        (Err(whole), Err(pieces)) => {
            assert!(whole.status().is_client_error() && pieces.status().is_client_error());
        }
        (whole, pieces) => panic!("whole: {whole:?}; in pieces: {pieces:?}"),
    }
});
