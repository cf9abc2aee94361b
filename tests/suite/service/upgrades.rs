//! Upgraded connections and streamed responses: the session is committed before their head is sent.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ws::{Message, WebSocketUpgrade},
    response::sse::{Event, Sse},
    routing::get,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_session::{Session, SessionError};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Call, TestServer, config,
    net::{Remote, Server, serve},
    test_server,
    websocket::WebSocket,
};

/// The error of a write after the response.
const COMMITTED: &str = "session is already committed; change it before the response is returned";

/// Writes to a session whose response was sent, and returns the error.
fn late_write(session: &Session) -> String {
    session.put("late", 1).unwrap_err().to_string()
}

/// Upgrades the connection to one that receives the error of a late write.
async fn upgrade(
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Empty<Bytes>>, SessionError> {
    session.load().await?.increment("n")?;
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let text = late_write(&session);
        TokioIo::new(upgraded)
            .write_all(text.as_bytes())
            .await
            .unwrap();
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "text");
    Ok(response.body(Empty::new()).unwrap())
}

async fn count_messages(
    session: Session,
    upgrade: WebSocketUpgrade,
) -> Result<axum::response::Response, SessionError> {
    session.increment("n")?;
    Ok(upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            let answer = format!("{text}: {}", late_write(&session));
            socket.send(Message::Text(answer.into())).await.unwrap();
        }
    }))
}

async fn events(
    session: Session,
) -> Result<Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>>, SessionError> {
    session.increment("n")?;
    let numbers = stream::iter(0..3)
        .map(move |number| Ok(Event::default().data(format!("{number} {}", late_write(&session)))));
    Ok(Sse::new(numbers))
}

/// A body whose second frame is the error of a late write.
async fn streamed(session: Session) -> Result<Body, SessionError> {
    session.increment("n")?;
    let frames = stream::iter([false, true]).map(move |writes| {
        let text = if writes {
            late_write(&session)
        } else {
            "first: ".to_owned()
        };
        Ok::<_, Infallible>(text)
    });
    Ok(Body::from_stream(frames))
}

async fn axum_server(setup: &TestServer) -> Server {
    let app = Router::new()
        .route("/socket", get(count_messages))
        .route("/events", get(events))
        .route("/streamed", get(streamed))
        .layer(setup.sessions.layer());
    serve(TowerToHyperService::new(app)).await
}

/// Returns the number of visits of the only session.
async fn stored_count(setup: &TestServer) -> Option<u64> {
    let events = setup.events.with_name("committed");
    let key = events.last()?.keys[0];
    let session = setup.sessions.collection().get(&key).await.unwrap()?;
    session.get("n").unwrap()
}

#[tokio::test]
async fn an_upgraded_connection_begins_after_the_session_is_stored() {
    let setup = test_server(config());
    let gate = setup.store.hold(Call::Write);
    let server = serve(Arc::new(setup.sessions.wrap_fn(upgrade))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: text\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    gate.reached().await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(30), stream.read(&mut byte)).await;
    assert!(early.is_err(), "no byte before the write is acknowledged");
    gate.open();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_lowercase().contains("set-cookie: session="),
        "{text}"
    );
    assert_eq!(rest, COMMITTED);
    assert_eq!(stored_count(&setup).await, Some(1));
}

#[tokio::test]
async fn a_websocket_has_a_session_that_is_stored_and_refuses_later_writes() {
    let setup = test_server(config());
    let server = axum_server(&setup).await;
    let mut socket = WebSocket::connect(server.address, "/socket", &[]).await;
    assert!(
        socket.headers["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("session=")
    );
    assert_eq!(stored_count(&setup).await, Some(1));
    for text in ["one", "two"] {
        socket.send(text).await;
        assert_eq!(socket.receive().await, format!("{text}: {COMMITTED}"));
    }
    assert_eq!(stored_count(&setup).await, Some(1));
}

#[tokio::test]
async fn streamed_responses_and_events_refuse_later_writes_over_http_1_and_2() {
    let setup = test_server(config());
    let server = axum_server(&setup).await;
    for mut client in [Remote::http1(server.address), Remote::http2(server.address)] {
        let answer = client.get("/streamed").await;
        assert_eq!(answer.text(), format!("first: {COMMITTED}"));
        assert_eq!(stored_count(&setup).await, Some(1));
        let answer = client.get("/events").await;
        assert_eq!(answer.headers[header::CONTENT_TYPE], "text/event-stream");
        let events: Vec<String> = (0..3)
            .map(|number| format!("data: {number} {COMMITTED}\n\n"))
            .collect();
        assert_eq!(answer.text(), events.concat());
        assert_eq!(stored_count(&setup).await, Some(2));
    }
}

#[tokio::test]
async fn a_handler_commits_explicitly_what_must_be_stored_before_its_response() {
    let setup = test_server(config());
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let handler = move |_: Request<Incoming>, session: Session| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move {
            session.load().await?.put("n", 1)?;
            session.commit().await?;
            // The head is sent when the client has seen the first change in the store.
            let _ = receiver.await;
            session.put("n", 2)?;
            Ok::<_, SessionError>(Response::new(Body::from("done")))
        }
    };
    let server = serve(Arc::new(setup.sessions.wrap_fn(handler))).await;
    let mut client = Remote::http1(server.address);
    let waiting = async {
        while setup.events.with_name("committed").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(stored_count(&setup).await, Some(1));
        sender.send(()).unwrap();
    };
    let (answer, ()) = tokio::join!(client.get("/"), waiting);
    assert_eq!(answer.text(), "done");
    assert_eq!(stored_count(&setup).await, Some(2));
}
