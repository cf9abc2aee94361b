//! Files in forms: skipped or read in chunks, within limits.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, StatusCode};
use http_body::Frame;
use hyper_session::form::{Forms, Input, InputLimits};
use serde_json::{Value, json};

use crate::{
    form::support::{BoxError, Site, Visitor},
    support::net::Answer,
};

const TYPE: &str = "multipart/form-data; boundary=----edge7";

/// Returns a multipart body. A part with a file name is a file.
fn multipart(parts: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file, content) in parts {
        body += &format!("------edge7\r\nContent-Disposition: form-data; name=\"{name}\"");
        if let Some(file) = file {
            body += &format!("; filename=\"{file}\"\r\nContent-Type: text/plain");
        }
        body += &format!("\r\n\r\n{content}\r\n");
    }
    body + "------edge7--\r\n"
}

async fn send(path: &str, body: impl Into<bytes::Bytes>) -> (Answer, Visitor) {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    let answer = visitor
        .send(Method::POST, path, &[("content-type", TYPE)], body)
        .await;
    assert_eq!(visitor.flashed().await, json!({}), "nothing is flashed");
    (answer, visitor)
}

async fn sent(path: &str, parts: &[(&str, Option<&str>, &str)]) -> Value {
    let (answer, _) = send(path, multipart(parts)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn fields_and_names_are_as_in_any_form() {
    let echo = sent(
        "/echo",
        &[
            ("title", None, "é \r\n%41+"),
            ("tags[]", None, "a"),
            ("tags[]", None, ""),
        ],
    )
    .await;
    assert_eq!(
        echo["input"],
        json!({"title": "é \r\n%41+", "tags": ["a", ""]})
    );
}

#[tokio::test]
async fn files_are_skipped_and_listed() {
    let long = "y".repeat(4000);
    let parts = [
        ("a", None, "1"),
        ("photo", Some("../../x y.txt"), "hello"),
        ("none", Some(""), ""),
        ("more[0]", Some("b"), &*long),
        ("z", None, "2"),
    ];
    let echo = sent("/echo", &parts).await;
    assert_eq!(echo["input"], json!({"a": "1", "z": "2"}));
    assert_eq!(
        echo["files"],
        json!([
            ["photo", "../../x y.txt", "text/plain", 5],
            ["more[0]", "b", "text/plain", 4000]
        ])
    );
    assert_eq!(echo["taken"], "");
}

#[tokio::test]
async fn files_are_taken_piece_by_piece() {
    let parts = [
        ("f", Some("a"), "hello "),
        ("a", None, "1"),
        ("f", Some("b"), "world"),
    ];
    let echo = sent("/echo?take", &parts).await;
    assert_eq!(echo["taken"], "hello world");
    assert_eq!(echo["input"], json!({"a": "1", "take": ""}));
}

#[tokio::test]
async fn limits_on_files_and_fields_are_exact() {
    let (most, more) = ("y".repeat(5000), "y".repeat(5001));
    let (field, long) = ("x".repeat(1999), "x".repeat(2000));
    let file = ("f", Some("a"), "1");
    for within in [
        vec![("f", Some("a"), &*most)],
        vec![("a", None, &*field)],
        vec![file, file],
    ] {
        sent("/echo", &within).await;
    }
    let half = ("f", Some("a"), &most[..2501]);
    for beyond in [
        vec![("f", Some("a"), &*more)],
        vec![half, half],
        vec![("a", None, &*long)],
        vec![file, file, file],
        vec![("a", None, ""); 21],
        vec![("f", Some(""), ""); 21],
        vec![("a[b][c][d][e]", None, "")],
    ] {
        for path in ["/echo", "/echo?take"] {
            let (answer, _) = send(path, multipart(&beyond)).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn an_incomplete_form_is_400() {
    let whole = multipart(&[("a", None, "1"), ("f", Some("b"), "2")]);
    let parts = [
        &whole[..whole.len() - 10],
        &whole[..40],
        &whole.replace("name=\"a\"", "nothing=\"a\""),
        &whole.replace("------edge7--", "------other--"),
        "",
        "\r\n",
    ];
    for body in parts.into_iter().filter(|body| !body.is_empty()) {
        let (answer, _) = send("/echo", body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    let latin = multipart(&[("a", None, "?")]).into_bytes();
    let latin: Vec<u8> = latin
        .iter()
        .map(|b| if *b == b'?' { 0xff } else { *b })
        .collect();
    let (answer, _) = send("/echo", latin).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_header_without_an_end_takes_no_more_memory_than_allowed() {
    // The parser must not buffer it, although it is within the limit on files.
    let limits = InputLimits::new().bytes(1000).file_bytes(u64::MAX);
    let body = format!("------edge7\r\nX: {}", "x".repeat(1_000_000));
    let request = http::Request::post("/").header("content-type", TYPE);
    let body = http_body_util::Full::new(bytes::Bytes::from(body));
    let refused = hyper_session::form::Input::from_request(request.body(body).unwrap(), &limits);
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// A body that returns one byte per frame.
struct SlowBody(bytes::Bytes);

impl http_body::Body for SlowBody {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Self::Error>>> {
        let next = (!self.0.is_empty()).then(|| self.0.split_to(1));
        Poll::Ready(next.map(|byte| Ok(Frame::data(byte))))
    }
}

#[tokio::test]
async fn the_parser_does_not_look_again_at_every_byte() -> Result<(), BoxError> {
    let long = "y".repeat(100_000);
    let body = multipart(&[("f", Some("a"), &long), ("a", None, "1")]);
    let request = http::Request::post("/").header("content-type", TYPE);
    let request = request.body(SlowBody(body.into()))?;
    let mut reader = Input::reader(request, &InputLimits::default()).await?;
    let mut chunks = 0;
    let file = reader.next_file().await?.unwrap();
    while file.chunk().await?.is_some() {
        chunks += 1;
    }
    assert!((1..20).contains(&chunks), "{chunks}");
    let input = reader.finish().await?;
    assert_eq!(input.files()[0].bytes, 100_000);
    assert_eq!(input.text("a"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_file_larger_than_memory_allows_goes_by() -> Result<(), BoxError> {
    let limits = InputLimits::new().bytes(1000).file_bytes(u64::MAX);
    let long = "y".repeat(3_000_000);
    let body = multipart(&[("f", Some("a"), &long), ("a", None, "1")]);
    let request = http::Request::post("/").header("content-type", TYPE);
    let body = http_body_util::Full::new(bytes::Bytes::from(body));
    let mut reader = hyper_session::form::Input::reader(request.body(body)?, &limits).await?;
    let mut largest = 0;
    while let Some(file) = reader.next_file().await? {
        while let Some(chunk) = file.chunk().await? {
            largest = largest.max(chunk.len());
        }
    }
    assert!(largest < 64 * 1024, "{largest}");
    let input = reader.finish().await?;
    assert_eq!(input.files()[0].bytes, 3_000_000);
    assert_eq!(input.text("a"), Some("1"));
    Ok(())
}
