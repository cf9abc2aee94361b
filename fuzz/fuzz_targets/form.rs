//! Reads arbitrary bytes as the input of a form. The result must be that of a model, whose only gap is a
//! multipart form that no browser sends. It must not depend on how the body is split into frames.
//!
//! The first byte selects the content type, the frame size, and if the body is a plan of a multipart form. The
//! first line is the query.
#![no_main]

#[path = "../support/form/mod.rs"]
mod form;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use form::{ContentType, Expected, Outcome, Refusal, json::Json};
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

const CONTENT_TYPES: [(&str, ContentType); 4] = [
    ("application/x-www-form-urlencoded", ContentType::Urlencoded),
    ("application/json", ContentType::Json),
    (
        "multipart/form-data; boundary=b",
        ContentType::Multipart("b"),
    ),
    (
        "multipart/form-data; boundary=\"--\"",
        ContentType::Multipart("--"),
    ),
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

/// One request, as it is sent.
struct Sent<'a> {
    content_type: &'static str,
    kind: ContentType,
    query: &'a str,
    body: &'a [u8],
}

impl Sent<'_> {
    /// Reads the request. Returns `None` if it cannot be a request.
    fn read(&self, frame_size: usize) -> Option<Result<Input, InputError>> {
        let body = FramedBody {
            bytes: Bytes::copy_from_slice(self.body),
            frame_size,
        };
        let request = Request::post(format!("/?{}", self.query));
        let request = request.header("content-type", self.content_type);
        Some(block_on(Input::from_request(
            request.body(body).ok()?,
            &LIMITS,
        )))
    }

    fn expected(&self) -> Outcome {
        // A URI ends before a fragment.
        let query = self.query.split('#').next().unwrap_or_default();
        form::expected(self.kind, query, self.body, &LIMITS)
    }
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
    let (content_type, kind) = CONTENT_TYPES[usize::from(selector % 4)];
    let planned = match kind {
        ContentType::Multipart(boundary) if *selector >= 128 => Some(form::multipart::encode(
            &form::multipart::plan(body),
            boundary,
        )),
        _ => None,
    };
    let sent = Sent {
        content_type,
        kind,
        query,
        body: planned.as_deref().unwrap_or(body),
    };
    let Some(whole) = sent.read(usize::MAX) else {
        return;
    };
    let frame_size = usize::from(selector / 4).max(1);
    let framed = sent.read(frame_size).expect("the request is valid");
    let expected = sent.expected();
    assert!(
        planned.is_none() || expected.is_some(),
        "the model wrote it"
    );
    check(&whole, &expected);
    check(&framed, &expected);
    match (whole, framed) {
        (Ok(whole), Ok(framed)) => {
            assert_eq!(whole.value(), framed.value());
            assert_eq!(whole.files(), framed.files());
            check_access(&whole);
            let _ = whole.deserialize::<Anything>();
        }
        (Err(_), Err(_)) => {}
        (whole, framed) => panic!("whole: {whole:?}; framed: {framed:?}"),
    }
});

fn check(read: &Result<Input, InputError>, expected: &Outcome) {
    match (read, expected) {
        (Ok(input), Some(Ok(Expected { tree, files }))) => {
            assert_eq!(input.value(), tree);
            let read = input.files().iter().map(|file| {
                let names = (file.field.clone(), file.file_name.clone());
                (names.0, names.1, file.content_type.clone(), file.bytes)
            });
            assert!(read.eq(files.iter().cloned()), "{files:?}");
        }
        (Err(error), Some(Err(refusal))) => {
            assert!(
                form::is_refused_for(error.kind(), refusal),
                "{error} {refusal:?}"
            );
        }
        // A multipart form, or text that is no JSON.
        (Ok(input), None) => assert!(input.value().get("_csrf").is_none()),
        (Err(error), None) => {
            let reasons = [
                Refusal::Malformed,
                Refusal::TooLarge("bytes"),
                Refusal::TooLarge("bytes of files"),
                Refusal::TooLarge("fields"),
                Refusal::TooLarge("files"),
                Refusal::TooLarge("levels of nesting"),
            ];
            let is_refused = |refusal| form::is_refused_for(error.kind(), refusal);
            assert!(reasons.iter().any(is_refused), "{error}");
        }
        (read, expected) => panic!("read: {read:?}; expected: {expected:?}"),
    }
}

/// Checks that every value is found by its path, and converted by the documented rules.
fn check_access(input: &Input) {
    let value = input.deserialize::<Json>().expect("any value").value;
    assert_eq!(&value, input.value());
    let mut open = vec![(String::new(), input.value())];
    while let Some((path, value)) = open.pop() {
        let children: Vec<(String, &Value)> = match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.to_string(), item))
                .collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), member))
                .collect(),
            _ => continue,
        };
        for (key, child) in children {
            if key.contains('.') {
                continue;
            }
            let is_root = std::ptr::eq(value, input.value());
            let path = if is_root {
                key
            } else {
                format!("{path}.{key}")
            };
            // A top-level name with dots takes precedence.
            if is_root || input.value().get(&path).is_none() {
                check_value(input, &path, child);
                open.push((path, child));
            }
        }
    }
}

fn check_value(input: &Input, path: &str, value: &Value) {
    assert_eq!(input.has(path), !value.is_null(), "{path}");
    assert_eq!(input.text(path), value.as_str(), "{path}");
    let Some(text) = value.as_str() else {
        return;
    };
    let found = |value: &Option<Json>| value.as_ref().map(|json| json.value.clone());
    let got = input.get::<Json>(path).expect("any value");
    assert_eq!(found(&got).as_ref(), Some(value));
    let number = input.get::<i16>(path).ok().flatten();
    assert_eq!(number, text.trim().parse().ok(), "{text}");
    let float = input.get::<f64>(path).ok().flatten();
    let finite = text
        .trim()
        .parse()
        .ok()
        .filter(|float: &f64| float.is_finite());
    assert_eq!(float, finite, "{text}");
    let flag = match text {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" | "" => Some(false),
        _ => None,
    };
    assert_eq!(input.get::<bool>(path).ok().flatten(), flag, "{text}");
    let optional = input.get::<Option<String>>(path).expect("a text");
    assert_eq!(
        optional.flatten().as_deref(),
        Some(text).filter(|text| !text.is_empty())
    );
    let list = input.get::<Vec<String>>(path).expect("a list of one");
    assert_eq!(list, Some(vec![text.to_owned()]));
}
