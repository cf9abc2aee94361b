//! The axum example as a process: its pages, its streams, and its layers.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use crate::support::{
    example,
    net::{Answer, Remote},
    websocket::WebSocket,
};

const FORM: &str = "application/x-www-form-urlencoded";
const PARTNER: (&str, &str) = ("origin", "https://partner.example");

/// The running example. Killed when dropped.
struct App {
    child: Child,
    address: SocketAddr,
}

impl App {
    fn start() -> Self {
        let mut child = Command::new(example("axum_app"))
            .env_clear()
            .env("ADDR", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let address = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
        // The process logs requests until it ends.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self {
            child,
            address: address.unwrap(),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn send(
    client: &mut Remote,
    method: Method,
    path: &str,
    lines: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    client.jar.add_to(request.headers_mut().unwrap());
    let uri = format!("http://{}{path}", client.address());
    let request = request.uri(uri).body(Full::new(body.into())).unwrap();
    client.send_request(request).await
}

async fn post_form(client: &mut Remote, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = client.get("/api/token").await.text().to_owned();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("_csrf", &token)
        .extend_pairs(fields)
        .finish();
    send(client, Method::POST, path, &[("content-type", FORM)], body).await
}

#[tokio::test]
async fn a_visitor_signs_in_and_out_and_sees_each_message_once() {
    let app = App::start();
    for mut client in [Remote::http1(app.address), Remote::http2(app.address)] {
        let wrong = post_form(&mut client, "/sign-in", &[("name", " ")]).await;
        assert_eq!(wrong.headers[header::LOCATION], "/");
        assert!(client.get("/").await.text().contains("Enter your name."));

        let before = client.jar.get("session").unwrap().to_owned();
        let answer = post_form(&mut client, "/sign-in", &[("name", "Ada <b>")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_ne!(client.jar.get("session").unwrap(), before);
        let page = client.get("/").await;
        assert!(
            page.text().contains("Welcome, Ada &#60;b&#62;."),
            "{}",
            page.text()
        );
        let page = client.get("/").await;
        assert!(page.text().contains("signed in as Ada") && !page.text().contains("Welcome"));

        post_form(&mut client, "/sign-out", &[]).await;
        let page = client.get("/").await;
        assert!(page.text().contains("You are signed out.") && !page.text().contains("Ada"));
    }
    let mut client = Remote::http1(app.address);
    let lines = [("content-type", FORM)];
    let refused = send(&mut client, Method::POST, "/sign-in", &lines, "name=Eve").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn preferences_are_typed_data_from_forms_and_json() {
    let app = App::start();
    let mut client = Remote::http1(app.address);
    let fields = [("language", "é"), ("rows", "20")];
    let answer = post_form(&mut client, "/preferences", &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let saved = client.get("/preferences").await.json();
    assert_eq!(saved, json!({"language": "é", "rows": 20}));

    let token = client.get("/api/token").await.text().to_owned();
    let body = json!({"language": "en", "rows": 5, "_csrf": token}).to_string();
    let lines = [("content-type", "application/json")];
    let path = "/api/preferences";
    let answer = send(&mut client, Method::POST, path, &lines, body).await;
    assert_eq!(answer.json(), json!({"language": "en", "rows": 5}));
    assert_eq!(client.get("/preferences").await.json()["rows"], 5);
    let body = json!({"language": "en", "rows": "many", "_csrf": token}).to_string();
    let answer = send(&mut client, Method::POST, path, &lines, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn sockets_and_events_know_the_visitor() {
    let app = App::start();
    let mut client = Remote::http1(app.address);
    post_form(&mut client, "/sign-in", &[("name", "Ada")]).await;
    let cookie = format!("session={}", client.jar.get("session").unwrap());
    for connection in 1..=2 {
        let lines = [("cookie", &*cookie)];
        let mut socket = WebSocket::connect(app.address, "/socket", &lines).await;
        for message in 1..=2 {
            socket.send("hello").await;
            let expected = format!("Ada, connection {connection}, message {message}: hello");
            assert_eq!(socket.receive().await, expected);
        }
    }
    let events = client.get("/events").await;
    assert_eq!(
        events.text(),
        "data: 1 Ada\n\ndata: 2 Ada\n\ndata: 3 Ada\n\n"
    );
}

#[tokio::test]
async fn the_layers_above_and_below_the_sessions_do_their_work() {
    let app = App::start();
    let mut client = Remote::http1(app.address);
    let lines = [PARTNER, ("accept-encoding", "gzip")];
    let page = send(&mut client, Method::GET, "/", &lines, "").await;
    assert_eq!(page.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(page.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], PARTNER.1);
    assert!(page.headers.contains_key(header::SET_COOKIE));

    // The CORS layer answers a preflight request itself.
    let mut browser = Remote::http1(app.address);
    let lines = [PARTNER, ("access-control-request-method", "POST")];
    let preflight = send(&mut browser, Method::OPTIONS, "/preferences", &lines, "").await;
    assert_eq!(
        preflight.headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS],
        "true"
    );
    assert!(!preflight.headers.contains_key(header::SET_COOKIE));

    // The timeout is inside of the sessions, so what the handler changed before is stored.
    let slow = client.get("/slow").await;
    assert_eq!(slow.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(slow.headers.contains_key(header::SET_COOKIE));
}
