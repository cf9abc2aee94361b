//! The origin of WebSocket handshakes, which cannot contain a CSRF token.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper_session::form::Forms;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    form::support::{Site, pages},
    support::{
        config,
        net::{connect_http2, serve},
        test_server,
    },
};

#[tokio::test]
async fn another_site_cannot_open_a_websocket() {
    let site = Site::new(&Forms::new().csrf_protection()).await;
    let open = Site::new(&Forms::new()).await;
    let own = site.url("");
    for (lines, passes) in [
        (&[("upgrade", "websocket"), ("origin", &*own)][..], true),
        (
            &[("upgrade", "websocket"), ("sec-fetch-site", "same-origin")],
            true,
        ),
        (&[("upgrade", "websocket")], true),
        (
            &[("upgrade", "h2c"), ("origin", "https://evil.example")],
            true,
        ),
        (&[("origin", "https://evil.example")], true),
        (
            &[("upgrade", "websocket"), ("origin", "https://evil.example")],
            false,
        ),
        (&[("upgrade", "WebSocket"), ("origin", "null")], false),
        (
            &[("upgrade", "websocket"), ("sec-fetch-site", "same-site")],
            false,
        ),
    ] {
        let expected = if passes {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        let answer = site.visitor().send(Method::GET, "/echo", lines, "").await;
        assert_eq!(answer.status, expected, "{lines:?}");
        let answer = open.visitor().send(Method::GET, "/echo", lines, "").await;
        assert_eq!(answer.status, StatusCode::OK, "without protection");
    }
}

/// Over HTTP/1 a CONNECT is no handshake, whatever its target.
#[tokio::test]
async fn a_connect_over_http1_needs_a_token() {
    let site = Site::new(&Forms::new().csrf_protection()).await;
    let address = site.server.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "CONNECT {} HTTP/1.1\r\nhost: {address}\r\n\r\n",
        site.url("/put")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 403 "), "{line}");
}

/// Over HTTP/2 a handshake is a CONNECT (RFC 8441).
#[tokio::test]
async fn another_site_cannot_open_a_websocket_over_http2() {
    let setup = test_server(config());
    let forms = Forms::new().csrf_protection();
    let service = setup.sessions.wrap_fn(forms.wrap_fn(pages));
    let server = serve(service).await;
    let mut client = connect_http2(server.address).await;
    let own = format!("http://{}", server.address);
    let handshake = |header: (&'static str, &str)| {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("{own}/a/socket"))
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header(header.0, header.1);
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    for (header, expected) in [
        (("origin", &*own), StatusCode::OK),
        (("sec-fetch-site", "same-origin"), StatusCode::OK),
        (("user-agent", "no browser"), StatusCode::OK),
        (("origin", "https://evil.example"), StatusCode::FORBIDDEN),
        (("origin", "null"), StatusCode::FORBIDDEN),
        (("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN),
        (("sec-fetch-site", "same-site"), StatusCode::FORBIDDEN),
    ] {
        client.ready().await.unwrap();
        let answer = client.send_request(handshake(header)).await.unwrap();
        assert_eq!(answer.status(), expected, "{header:?}");
    }
    // Without `:protocol`, a CONNECT asks for a tunnel. No page can send one.
    let tunnel = Request::connect(server.address.to_string());
    let tunnel = tunnel.body(Empty::new()).unwrap();
    let answer = client.send_request(tunnel).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}
