//! A client that sends a form slowly.

use hyper_session::form::Forms;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::{FORM, LIMITS, Site};
use crate::support::Call;

/// Connects as a new visitor, and sends the head of a form. Returns the body, which is not sent.
async fn begin(site: &Site) -> (TcpStream, String) {
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let body = format!("a=1&_csrf={token}");
    let cookies = visitor.0.jar.line().unwrap();
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\ncookie: {}\r\ncontent-type: {FORM}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        cookies.to_str().unwrap(),
        body.len()
    );
    let mut stream = TcpStream::connect(site.server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    (stream, body)
}

#[tokio::test]
async fn a_form_that_arrives_byte_by_byte_is_read_and_delays_no_other_visitor() {
    let site = Site::new(&Forms::new().csrf_protection().limits(LIMITS)).await;
    let mut other = site.visitor();
    let (mut stream, body) = begin(&site).await;
    for (number, byte) in body.bytes().enumerate() {
        stream.write_all(&[byte]).await.unwrap();
        if number % 10 == 0 {
            assert_eq!(other.get("/form").await.status, 200);
        }
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""input":{"a":"1"}"#), "{answer}");
}

#[tokio::test]
async fn a_form_that_ends_early_is_not_handled() {
    let site = Site::new(&Forms::new().csrf_protection().limits(LIMITS)).await;
    let (mut stream, body) = begin(&site).await;
    site.setup.store.calls();
    let half = &body.as_bytes()[..body.len() / 2];
    stream.write_all(half).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    let calls = site.setup.store.calls();
    assert!(!calls.contains(&Call::Write), "{calls:?}");
    assert_eq!(site.visitor().get("/form").await.status, 200);
}
