//! Parses arbitrary bytes as the input of a form. The result must respect the limits, deserialize to
//! itself, and not depend on how the body is split into frames.
//!
//! The first byte selects the content type and the frame size. The first line is the query.
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

const CONTENT_TYPES: [&str; 4] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=b",
    "multipart/form-data; boundary=\"--\"",
];

/// A body in frames of a fixed size.
struct FramedBody {
    bytes: Bytes,
    frame_size: usize,
}

impl Body for FramedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.frame_size.min(self.bytes.len());
        let frame = self.bytes.split_to(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A type with members of many types.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only deserialized")]
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
    Number(#[allow(dead_code, reason = "only deserialized")] u128),
}

/// Polls in a loop. No future here waits for another task.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn read(
    content_type: &str,
    query: &str,
    body: &[u8],
    frame_size: usize,
) -> Option<Result<Input, InputError>> {
    let body = FramedBody {
        bytes: Bytes::copy_from_slice(body),
        frame_size,
    };
    let request = Request::post(format!("/?{query}")).header("content-type", content_type);
    let request = request.body(body).ok()?;
    Some(block_on(Input::from_request(request, &LIMITS)))
}

/// Returns the depth of a value and the number of its leaves.
fn measure(value: &Value) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match value {
        Value::Array(items) => items.iter().map(measure).collect(),
        Value::Object(members) => members.values().map(measure).collect(),
        _ => return (0, 1),
    };
    let depth = children.iter().map(|(depth, _)| *depth).max();
    let leaves = children.iter().map(|(_, leaves)| *leaves).sum();
    (depth.unwrap_or(0) + 1, leaves)
}

fuzz_target!(|data: &[u8]| {
    let [selector, rest @ ..] = data else {
        return;
    };
    let mut halves = rest.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (halves.next().unwrap_or_default(), halves.next());
    let (query, body) = second.map_or((&b""[..], first), |second| (first, second));
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let content_type = CONTENT_TYPES[usize::from(selector % 4)];
    let Some(whole) = read(content_type, query, body, usize::MAX) else {
        return;
    };
    let frame_size = usize::from(selector / 4).max(1);
    let framed = read(content_type, query, body, frame_size).expect("the request is valid");
    match (whole, framed) {
        (Ok(whole), Ok(framed)) => {
            assert_eq!(whole.value(), framed.value());
            assert_eq!(whole.files(), framed.files());
            let (depth, leaves) = measure(whole.value());
            // Repeated values of one name form a list, which adds one level.
            assert!(
                depth <= LIMITS.depth + 2 && leaves <= LIMITS.fields,
                "{whole:?}"
            );
            assert!(whole.value().get("_csrf").is_none());
            let value: Value = whole.deserialize().expect("a value deserializes to itself");
            assert_eq!(&value, whole.value());
            let _ = whole.deserialize::<Anything>();
            let _ = whole.get::<u64>(query);
        }
        (Err(whole), Err(framed)) => {
            assert!(whole.status().is_client_error() && framed.status().is_client_error());
        }
        (whole, framed) => panic!("whole: {whole:?}; framed: {framed:?}"),
    }
});
