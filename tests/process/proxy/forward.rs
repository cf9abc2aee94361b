//! What the proxy forwards: headers, streams, and the failures of upstream servers.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::support::{Proxy, open, raw, read_until, stop, upstream};
use crate::support::{net::Remote, websocket::WebSocket};

#[tokio::test]
async fn headers_of_one_connection_end_at_the_proxy() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let lines = "connection: close, X-Hop\r\nconnection: x-more\r\nx-hop: 1\r\nx-more: 1\r\nx-end: 1\r\n\
                 keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authorization: Basic eA==\r\n\
                 te: gzip;q=0.5, trailers\r\nvia: 1.0 first";
    let answer = raw(
        proxy.address,
        &format!("GET /public/x?q=1 HTTP/1.1\r\nhost: site.example\r\n{lines}\r\n\r\n"),
    )
    .await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let start = body.find('{').unwrap();
    let request: Value = serde_json::Deserializer::from_str(&body[start..])
        .into_iter()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(request["target"], "/public/x?q=1");
    let mut headers = request["headers"].as_object().unwrap().clone();
    headers.sort_keys();
    let expected = serde_json::json!({
        "connection": "te",
        "forwarded": "for=127.0.0.1;host=\"site.example\";proto=http",
        "host": "site.example",
        "te": "trailers",
        "via": "1.0 first, 1.1 hyper-session",
        "x-end": "1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "site.example",
        "x-forwarded-proto": "http",
    });
    assert_eq!(Value::from(headers), expected);

    let lines = "connection: close\r\nte: trailers";
    let answer = raw(
        proxy.address,
        &format!("GET /public/hops HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n"),
    )
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("x-end: 1") && head.contains("via: 1.1 hyper-session"),
        "{head}"
    );
    for gone in ["x-hop", "keep-alive"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    assert_eq!(body, "4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n");
}

#[tokio::test]
async fn the_proxys_account_of_the_client_cannot_be_forged() {
    let upstream = upstream().await;
    let forged = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=10.0.0.1"),
        // Some servers read this as the first one.
        ("x_forwarded_for", "10.0.0.1"),
    ];
    let proxy = Proxy::start(upstream.address, &[]);
    let host = proxy.address.to_string();
    for mut client in [Remote::http1(proxy.address), Remote::http2(proxy.address)] {
        let answer = client
            .send_with(Method::GET, "/public/x", &forged, "")
            .await;
        let sent = answer.json()["headers"].clone();
        assert_eq!(sent["x-forwarded-for"], "127.0.0.1");
        assert_eq!(sent["x_forwarded_for"], serde_json::Value::Null);
        assert_eq!(sent["x-forwarded-proto"], "http");
        assert_eq!(sent["x-forwarded-host"], host);
        assert_eq!(sent["host"], host);
        assert_eq!(
            sent["forwarded"],
            format!("for=127.0.0.1;host=\"{host}\";proto=http")
        );
    }
    let proxy = Proxy::start(
        upstream.address,
        &[("TRUSTED_PROXIES", "10.9.9.9, 127.0.0.1")],
    );
    let mut client = Remote::http1(proxy.address);
    let answer = client
        .send_with(Method::GET, "/public/x", &forged, "")
        .await;
    let sent = answer.json()["headers"].clone();
    assert_eq!(sent["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert_eq!(sent["x-forwarded-proto"], "https");
    assert_eq!(sent["x-forwarded-host"], "evil.example");
}

#[tokio::test]
async fn ambiguous_requests_are_rejected() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let close = "connection: close\r\n\r\n";
    for (request, status) in [
        (
            format!("GET /public/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n{close}"),
            "400",
        ),
        (format!("GET /public/x HTTP/1.1\r\n{close}"), "400"),
        (format!("OPTIONS * HTTP/1.1\r\nhost: a\r\n{close}"), "401"),
        (
            format!(
                "GET /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n{close}xx"
            ),
            "400",
        ),
    ] {
        let answer = raw(proxy.address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
    }
}

#[tokio::test]
async fn bytes_are_streamed_in_both_directions_at_once() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let head = "POST /public/stream HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = open(proxy.address, head).await;
    for text in ["ping", "pong"] {
        stream
            .write_all(format!("4\r\n{text}\r\n").as_bytes())
            .await
            .unwrap();
        // The answer arrives before the request ends.
        read_until(&mut stream, &format!("4\r\n{text}\r\n")).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "0\r\n\r\n").await;
}

/// The proxy holds a bounded part of a body, however slow its receiver is.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn huge_bodies_take_no_memory() {
    const MEGABYTES: usize = 200;
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let mut client = Remote::http1(proxy.address);
    client.get("/public/x").await;
    let before = proxy.memory("VmHWM");
    let request =
        format!("GET /public/huge?{MEGABYTES} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let mut stream = open(proxy.address, &request).await;
    // All buffers fill before the first byte is read.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut length = 0;
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            read => length += read,
        }
    }
    assert!(length > MEGABYTES * 1024 * 1024, "{length}");
    let body = Bytes::from(vec![b'x'; MEGABYTES * 1024 * 1024]);
    let answer = client.post("/public/count", body).await;
    assert_eq!(answer.text(), (MEGABYTES * 1024 * 1024).to_string());
    let grown = proxy.memory("VmHWM") - before;
    assert!(grown < MEGABYTES * 1024 / 4, "{grown} KB");
}

/// An upstream server that does `act` with each connection after the head of its request.
async fn raw_upstream<F>(act: impl Fn(TcpStream) -> F + Send + 'static) -> std::net::SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            tokio::spawn(act(stream));
        }
    });
    address
}

/// Returns the status and the body of `/public/x`; the body is `None` if it was cut.
async fn get(proxy: &Proxy) -> (u16, Option<Bytes>) {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/public/x", proxy.address));
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.ok().map(|body| body.to_bytes());
    (head.status.as_u16(), body)
}

#[tokio::test]
async fn a_chunked_response_loses_its_length() {
    let upstream = raw_upstream(async |mut stream: TcpStream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}9\r\nall of it\r\n0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let proxy = Proxy::start(upstream.await, &[]);
    let request = "GET /public/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = raw(proxy.address, request).await;
    assert!(!answer.contains("content-length"), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\n9\r\nall of it\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_slow_upstream_server_is_a_504() {
    let timeout = [("UPSTREAM_TIMEOUT", "1")];
    let silent = raw_upstream(async |_stream| std::future::pending().await).await;
    let proxy = Proxy::start(silent, &timeout);
    assert_eq!(get(&proxy).await.0, 504);
    let mut client = Remote::http2(proxy.address);
    assert_eq!(client.post("/public/x", "body").await.status, 504);

    let stalling = raw_upstream(async |mut stream: TcpStream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ";
        stream.write_all(head.as_bytes()).await.unwrap();
        std::future::pending().await
    });
    let proxy = Proxy::start(stalling.await, &timeout);
    assert_eq!(get(&proxy).await, (200, None), "the body is cut");
}

#[tokio::test]
async fn an_upload_that_the_upstream_server_does_not_read_leaves_no_connection() {
    let (sender, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let unread = raw_upstream(move |stream| {
        sender.send(stream).unwrap();
        std::future::ready(())
    });
    let limits = [
        ("UPSTREAM_TIMEOUT", "1"),
        ("UPSTREAM_REQUESTS", "1"),
        ("CONNECT_TIMEOUT", "600"),
        ("MAX_CONNECTIONS", "1"),
    ];
    let proxy = Proxy::start(unread.await, &limits);
    // The second upload needs the permit and the connection of the first one.
    for _ in 0..2 {
        const LENGTH: usize = 64 << 20;
        let head =
            format!("POST /public/x HTTP/1.1\r\nhost: h\r\ncontent-length: {LENGTH}\r\n\r\n");
        let whole = async {
            let mut stream = open(proxy.address, &head).await;
            let sent = stream.write_all(&vec![b'x'; LENGTH]).await;
            assert!(sent.is_err(), "the proxy closes the client's connection");
            let mut upstream = streams.recv().await.unwrap();
            let mut rest = Vec::new();
            // What the kernel had buffered arrives, and then the end or a reset.
            let _ = upstream.read_to_end(&mut rest).await;
            assert!(rest.len() < LENGTH, "{} bytes", rest.len());
        };
        timeout(Duration::from_secs(60), whole)
            .await
            .expect("both connections close");
    }
    let request = "GET /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = raw(proxy.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_dying_upstream_server_is_a_502() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = refusing.local_addr().unwrap();
    drop(refusing);
    let proxy = Proxy::start(address, &[]);
    assert_eq!(get(&proxy).await.0, 502);
    // It starts later.
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    assert_eq!(get(&proxy).await, (200, Some("ok".into())));
    for (answer, expected) in [
        ("", (502, None)),
        ("HTTP/1.1 200", (502, None)),
        ("this is not HTTP\r\n\r\n", (502, None)),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            (200, None),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            (200, None),
        ),
    ] {
        let dying = raw_upstream(move |mut stream: TcpStream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let proxy = Proxy::start(dying.await, &[]);
        let (status, body) = get(&proxy).await;
        assert_eq!(status, expected.0, "{answer}");
        if status == 200 {
            assert_eq!(body, expected.1, "{answer}: a cut body is not a whole one");
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_is_a_408() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[("UPSTREAM_TIMEOUT", "3")]);
    let head = "POST /public/count HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhalf";
    let mut stream = open(proxy.address, head).await;
    let answer = read_until(&mut stream, "\r\n").await;
    assert_eq!(answer, "HTTP/1.1 408 Request Timeout\r\n");
}

#[tokio::test]
async fn requests_above_the_limit_are_a_503() {
    let upstream = upstream().await;
    let limits = [("UPSTREAM_REQUESTS", "1"), ("CONNECT_TIMEOUT", "1")];
    let proxy = Proxy::start(upstream.address, &limits);
    let head = "POST /public/stream HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nping\r\n";
    let mut stream = open(proxy.address, head).await;
    read_until(&mut stream, "ping").await;
    let mut client = Remote::http1(proxy.address);
    let refused = client.get("/public/x").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "0\r\n\r\n").await;
    assert_eq!(client.get("/public/x").await.status, 200);
}

/// Waits for the only permit of a proxy, which a client that accepts no data has.
async fn wait_for_permit(proxy: &Proxy) {
    let request = "GET /public/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let wait = async {
        // The lifetime of this connection may end soon after that of the first one.
        while !raw(proxy.address, request)
            .await
            .starts_with("HTTP/1.1 200")
        {}
    };
    let result = timeout(Duration::from_secs(60), wait).await;
    result.expect("the permit is free again");
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_keep_its_permit() {
    let upstream = upstream().await;
    let limits = [
        ("UPSTREAM_REQUESTS", "1"),
        ("CONNECT_TIMEOUT", "600"),
        ("WRITE_TIMEOUT", "1"),
    ];
    let proxy = Proxy::start(upstream.address, &limits);
    let head = "GET /public/huge?64 HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut stream = open(proxy.address, head).await;
    read_until(&mut stream, "\r\n\r\n").await;
    wait_for_permit(&proxy).await;
    let mut rest = Vec::new();
    // What the kernel had buffered arrives, and then the end or a reset.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 << 20, "{} bytes", rest.len());
}

#[tokio::test]
async fn a_client_of_http_2_that_accepts_no_data_does_not_keep_its_permit() {
    let upstream = upstream().await;
    let limits = [
        ("UPSTREAM_REQUESTS", "1"),
        ("CONNECT_TIMEOUT", "600"),
        ("CONNECTION_LIFETIME", "2"),
    ];
    let proxy = Proxy::start(upstream.address, &limits);
    // A connection may end before its response has begun.
    let response = loop {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let executor = TokioExecutor::new();
        let Ok((mut sender, connection)) = http2::handshake(executor, TokioIo::new(stream)).await
        else {
            continue;
        };
        tokio::spawn(connection);
        let request = Request::get("http://h/public/huge?64").body(Empty::<Bytes>::new());
        if let Ok(response) = sender.send_request(request.unwrap()).await {
            break response;
        }
    };
    assert_eq!(response.status(), 200);
    wait_for_permit(&proxy).await;
    assert!(
        response.into_body().collect().await.is_err(),
        "it was cut off"
    );
}

#[tokio::test]
async fn a_stop_waits_for_running_responses() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let head = "POST /public/stream HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nping\r\n";
    let mut stream = open(proxy.address, head).await;
    read_until(&mut stream, "ping").await;
    stop(&proxy.process).await;
    stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "last\r\n0\r\n\r\n").await;
    let exited = tokio::task::spawn_blocking(move || proxy.process.wait());
    assert!(exited.await.unwrap().status.success());
}

/// Opens a tunnel to the upstream server's WebSocket, and sends a message through it.
async fn open_tunnel(proxy: &Proxy) -> WebSocket {
    let mut socket = WebSocket::connect(proxy.address, "/public/socket", &[]).await;
    socket.send("hello").await;
    assert_eq!(socket.receive().await, "visitor: hello");
    socket
}

#[tokio::test]
async fn a_stop_waits_for_tunnels() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let mut socket = open_tunnel(&proxy).await;
    stop(&proxy.process).await;
    socket.send("last").await;
    assert_eq!(socket.receive().await, "visitor: last");
    drop(socket);
    let exit = tokio::task::spawn_blocking(move || proxy.process.wait());
    let exit = exit.await.unwrap();
    assert!(exit.status.success());
    assert_eq!(exit.stdout, "stopped\n");
    #[cfg(feature = "tracing")]
    assert!(exit.stderr.contains("event=\"started\""), "{}", exit.stderr);
    assert!(!exit.stderr.contains("did not close"), "{}", exit.stderr);
}

#[tokio::test]
async fn a_stop_closes_tunnels_after_its_timeout_or_at_a_second_signal() {
    let upstream = upstream().await;
    for (timeout, is_over) in [("1", true), ("600", false)] {
        let proxy = Proxy::start(upstream.address, &[("SHUTDOWN_TIMEOUT", timeout)]);
        let mut socket = open_tunnel(&proxy).await;
        stop(&proxy.process).await;
        if !is_over {
            proxy.process.signal("TERM");
        }
        assert!(socket.is_closed().await);
        let exit = tokio::task::spawn_blocking(move || proxy.process.wait());
        let exit = exit.await.unwrap();
        assert!(exit.status.success());
        let warning = "shutdown: some connections did not close within 1s";
        assert_eq!(exit.stderr.contains(warning), is_over, "{}", exit.stderr);
    }
}

#[test]
fn a_wrong_setting_stops_the_program_with_its_name() {
    let program = crate::support::example("proxy");
    for (variables, expected) in [
        (
            &[("UPSTREAM", "ftp://x")][..],
            "UPSTREAM=ftp://x: not a server; use http://HOST:PORT",
        ),
        (&[], "UPSTREAM=: not a server"),
        (
            &[("UPSTREAM", "http://x"), ("SESSIONS", "no")],
            "SESSIONS=no: unknown; use `on` or `off`",
        ),
        (
            &[("UPSTREAM", "http://x"), ("TRUSTED_PROXIES", "any")],
            "TRUSTED_PROXIES=any: not an IP address",
        ),
        (
            &[("UPSTREAM", "http://x"), ("ADDR", "127.0.0.1:0")],
            "USERS is not set",
        ),
    ] {
        let output = Command::new(&program)
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && stderr.contains(expected),
            "{stderr}"
        );
    }
}
