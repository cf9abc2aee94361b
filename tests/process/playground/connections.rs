//! The playground's limits on time and connections, and its error responses.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    net::Remote,
    playground::{Playground, ops},
};

/// Opens a connection and sends these bytes.
async fn open(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Returns when the server has closed the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest);
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
    assert!(closed.is_ok(), "the server closes the connection");
}

#[tokio::test]
async fn connections_without_requests_are_closed() {
    let playground = Playground::start_with(&[("IDLE_TIMEOUT", "1")]);
    let request = "GET /raw HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut streams = Vec::new();
    for bytes in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HT",
        request,
    ] {
        for _ in 0..20 {
            streams.push(open(playground.address, bytes).await);
        }
    }
    let mut busy = playground.client();
    let slow = json!([{"op": "sleep", "ms": 4000}, {"op": "increment", "key": "n"}]);
    let running = tokio::spawn(async move { ops(&mut busy, slow).await });
    for stream in streams {
        closed(stream).await;
    }
    assert_eq!(
        running.await.unwrap(),
        json!([null, 1]),
        "a running request is answered"
    );
}

#[tokio::test]
async fn a_client_above_the_limit_waits_for_a_connection() {
    let playground = Playground::start_with(&[("MAX_CONNECTIONS", "2")]);
    let first = open(playground.address, "").await;
    let _second = open(playground.address, "").await;
    let address = playground.address;
    let mut waiting = tokio::spawn(async move { Remote::http1(address).get("/raw").await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "no connection is free");
    drop(first);
    assert_eq!(waiting.await.unwrap().text(), "raw");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections() {
    let playground = Playground::start();
    let streams = [
        open(playground.address, "").await,
        open(playground.address, "GET /raw HTTP/1.1\r\nhost: x\r\n\r\n").await,
    ];
    playground.client().get("/raw").await;
    playground.stop();
    for stream in streams {
        closed(stream).await;
    }
    let exited = tokio::task::spawn_blocking(move || playground.wait());
    assert!(exited.await.unwrap(), "the process exits with success");
}

#[test]
fn a_limit_that_is_no_number_stops_the_program() {
    for (variable, value) in [("IDLE_TIMEOUT", "0"), ("MAX_CONNECTIONS", "many")] {
        let stopped = Playground::command(&[(variable, value)]).output().unwrap();
        assert!(!stopped.status.success());
        let stderr = String::from_utf8(stopped.stderr).unwrap();
        assert!(stderr.contains(&format!("{variable}={value}")), "{stderr}");
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_stored_is_answered_with_the_reason() {
    let playground = Playground::start_with(&[("SESSION_DRIVER", "Cookie")]);
    let mut client = playground.client();
    let large = json!([{"op": "put", "key": "cart", "value": "x".repeat(6000)}]);
    let answer = client.post("/ops", large.to_string()).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.headers["content-type"], "application/json");
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("limit of its store is"), "{error}");
    assert!(error.contains("largest keys: `cart`"), "{error}");
    let read = ops(&mut client, json!([{"op": "all"}])).await;
    assert_eq!(read, json!([{}]), "nothing was stored");
}

#[tokio::test]
async fn the_page_names_its_language_and_fits_phones_and_dark_screens() {
    let playground = Playground::start();
    let mut client = playground.client();
    client.get("/theme/dark").await;
    let answer = client.get("/").await;
    for part in [
        "<!doctype html><html lang=en data-theme=\"dark\">",
        "<meta name=viewport content=\"width=device-width, initial-scale=1\">",
        "color-scheme: light dark;",
        "<a href=/theme/dark aria-current=true>",
    ] {
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
}
