//! Clients and handlers that misuse a service, over sockets.

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    task::{Context, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_session::{
    Session, Sessions,
    store::{MemoryStore, Store},
    testing::TestStore,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
};

use crate::support::{
    Call, config,
    net::{Remote, Server, serve_with},
};

/// The length of the response of `/large`, more than the buffers of a connection.
const LARGE: usize = 32 << 20;

/// A service that counts the visits of each session, and panics at `/panic`.
async fn counter() -> (Server, MemoryStore) {
    let store = MemoryStore::new();
    (counter_on(store.clone(), false).await, store)
}

/// The same on this store. With `half_close` it answers clients that have closed their sending side.
async fn counter_on(store: impl Store, half_close: bool) -> Server {
    let sessions = Sessions::new(config(), store).unwrap();
    let service = sessions.wrap_fn(async |request: Request<Incoming>, session: Session| {
        let n = session.load().await.unwrap().increment("n").unwrap();
        let body = match request.uri().path() {
            // Without the message that `panic!` prints.
            "/panic" => std::panic::resume_unwind(Box::new("a handler's panic")),
            "/large" => vec![b'x'; LARGE].into(),
            _ => Bytes::from(n.to_string()),
        };
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    serve_with(Arc::new(service), half_close).await
}

/// Returns a client that has a session with the count 1.
async fn known(server: &Server) -> Remote {
    let mut client = Remote::http1(server.address);
    assert_eq!(client.get("/").await.text(), "1");
    client
}

/// Returns the text of a request with the client's cookies, for a connection of its own.
fn request_text(client: &Remote, path: &str) -> String {
    let cookies = client.jar.line().unwrap();
    let cookies = cookies.to_str().unwrap();
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: {cookies}\r\n\r\n")
}

type Http2Sender = SendRequest<Empty<Bytes>>;

/// Opens an HTTP/2 connection. The task ends with it.
async fn connect_http2(server: &Server) -> (Http2Sender, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = connected.await.unwrap();
    (sender, tokio::spawn(async { drop(connection.await) }))
}

/// Returns a request with the client's cookies.
fn request(client: &Remote, path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::get(format!("http://{}{path}", client.address()));
    client.jar.add_to(request.headers_mut().unwrap());
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_client_that_sends_one_byte_at_a_time_delays_no_other() {
    let (server, _) = counter().await;
    let mut client = known(&server).await;
    let text = request_text(&client, "/");
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let mut other = Remote::http1(server.address);
    for (number, byte) in text.bytes().enumerate() {
        slow.write_all(&[byte]).await.unwrap();
        if number % 20 == 0 {
            assert_eq!(other.get("/").await.status, 200);
            assert_eq!(client.get("/").await.status, 200);
        }
    }
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let visits = 2 + text.len().div_ceil(20);
    assert_eq!(client.get("/").await.text(), (visits + 1).to_string());
}

#[tokio::test]
async fn a_change_that_a_half_closed_connection_acknowledged_is_stored() {
    const REQUESTS: usize = 30;
    let (server, _) = counter().await;
    let mut client = known(&server).await;
    let text = request_text(&client, "/");
    let mut answered = 0;
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // From now on the client can only read.
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answered += usize::from(answer.starts_with(b"HTTP/1.1 200"));
    }
    let n: usize = client.get("/").await.text().parse().unwrap();
    assert!(
        answered > 0 && (answered + 2..=REQUESTS + 2).contains(&n),
        "{n} visits, {answered} answers"
    );
}

#[tokio::test]
async fn a_client_that_half_closes_during_a_commit_is_answered_or_dropped_as_configured() {
    for half_close in [true, false] {
        let store = TestStore::new(MemoryStore::new());
        let server = counter_on(store.clone(), half_close).await;
        let (mut client, mut other) = (known(&server).await, known(&server).await);
        let write = store.hold(Call::Write);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let text = request_text(&client, "/");
        stream.write_all(text.as_bytes()).await.unwrap();
        write.reached().await;
        stream.shutdown().await.unwrap();
        assert_eq!(other.get("/").await.text(), "2");
        let mut answer = Vec::new();
        if half_close {
            write.open();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            assert_eq!(client.get("/").await.text(), "3");
        } else {
            // The server closes the connection although the commit waits.
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(answer, b"");
            write.open();
            let n = client.get("/").await;
            assert!(["2", "3"].contains(&n.text()), "{}", n.text());
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_delays_no_other_and_its_change_is_stored() {
    let (server, _) = counter().await;
    let (mut client, mut other) = (known(&server).await, known(&server).await);
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let text = request_text(&client, "/large");
    slow.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    for n in 2..=20 {
        assert_eq!(other.get("/").await.text(), n.to_string());
    }
    assert_eq!(client.get("/").await.text(), "3");
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > LARGE && answer.ends_with(b"xxx"));
}

#[tokio::test]
async fn a_header_of_ten_megabytes_is_refused_and_the_next_visitor_is_served() {
    let (server, store) = counter().await;
    let mut client = known(&server).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: x\r\ncookie: session=";
    stream.write_all(head).await.unwrap();
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(&vec![b'a'; 10 << 20]).await;
    let _ = stream.write_all(b"\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(client.get("/").await.text(), "2");
    assert_eq!(store.stats().records, 1);
}

#[tokio::test]
async fn a_session_is_found_behind_ten_thousand_cookies() {
    let (server, _) = counter().await;
    let mut client = known(&server).await;
    for number in 0..10_000 {
        client.jar.plant(&format!("c{number}"), "v");
    }
    assert!(client.jar.line().unwrap().len() > 80_000);
    for n in 2..=4 {
        assert_eq!(client.get("/").await.text(), n.to_string());
    }
}

#[tokio::test]
async fn http_2_streams_that_are_reset_at_once_lose_no_answered_change() {
    const STREAMS: usize = 500;
    let (server, store) = counter().await;
    let (mut client, mut other) = (known(&server).await, known(&server).await);
    let (mut sent, mut answered, mut visits) = (0, 0, 1);
    while sent < STREAMS {
        let (mut sender, connection) = connect_http2(&server).await;
        // The server closes a connection that resets too many streams.
        while sent < STREAMS && sender.ready().await.is_ok() {
            let mut answer = Box::pin(sender.send_request(request(&client, "/")));
            sent += 1;
            if sent % 5 == 1 {
                let answer = answer.await;
                answered += usize::from(answer.is_ok_and(|answer| answer.status() == 200));
                visits += 1;
                assert_eq!(other.get("/").await.text(), visits.to_string());
                continue;
            }
            let mut context = Context::from_waker(Waker::noop());
            let _ = answer.as_mut().poll(&mut context);
            if sent % 7 == 0 {
                yield_now().await;
            }
            // Dropping the future resets the stream.
        }
        drop(sender);
        connection.await.unwrap();
    }
    let n: usize = client.get("/").await.text().parse().unwrap();
    assert!(
        answered > 0 && (answered + 2..=STREAMS + 2).contains(&n),
        "{n} visits, {answered} answers"
    );
    assert_eq!(client.get("/").await.text(), (n + 1).to_string());
    assert_eq!(store.stats().records, 2);
}

#[tokio::test]
async fn a_panic_on_an_http_2_connection_ends_its_own_stream_only() {
    let store = TestStore::new(MemoryStore::new());
    let server = counter_on(store.clone(), false).await;
    let mut client = known(&server).await;
    let (mut sender, _connection) = connect_http2(&server).await;
    let write = store.hold(Call::Write);
    let slow = tokio::spawn(sender.send_request(request(&client, "/")));
    write.reached().await;
    for _ in 0..20 {
        let panicked = sender.send_request(request(&client, "/panic")).await;
        assert!(panicked.is_err());
    }
    write.open();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    let next = sender.send_request(request(&client, "/")).await;
    assert_eq!(next.unwrap().status(), 200);
    assert_eq!(client.get("/").await.text(), "4");
}

#[tokio::test]
async fn a_handler_that_panics_stores_nothing_and_the_service_goes_on() {
    let (server, store) = counter().await;
    let mut client = known(&server).await;
    for n in 2..=20 {
        assert!(!client.try_post("/panic", "").await, "the connection ends");
        assert_eq!(client.get("/").await.text(), n.to_string());
    }
    assert!(!Remote::http2(server.address).try_post("/panic", "").await);
    assert_eq!(store.stats().records, 1);
}
