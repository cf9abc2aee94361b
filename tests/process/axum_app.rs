//! The axum example as a process: its pages, its streams, and its layers.

use std::process::Command;

use http::{Method, StatusCode, header};
use serde_json::json;

use crate::support::{
    ServerProcess, example,
    net::{Answer, Remote},
    websocket::WebSocket,
};

const FORM: &str = "application/x-www-form-urlencoded";
/// The status of a server that stops (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;
const FRONT_END: (&str, &str) = ("origin", "http://127.0.0.1:5173");

fn command() -> Command {
    let mut command = Command::new(example("axum_app"));
    command.env_clear().env("ADDR", "127.0.0.1:0");
    command
}

/// Starts the example. It logs requests until it ends.
fn start() -> ServerProcess {
    ServerProcess::start(&mut command())
}

async fn post_form(client: &mut Remote, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = client.get("/api/token").await.text().to_owned();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("_csrf", &token)
        .extend_pairs(fields)
        .finish();
    client
        .send_with(Method::POST, path, &[("content-type", FORM)], body)
        .await
}

#[tokio::test]
async fn a_visitor_signs_in_and_out_and_sees_each_message_once() {
    let app = start();
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
    let long = "x".repeat(257);
    let answer = post_form(&mut client, "/sign-in", &[("name", &long)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let page = client.get("/").await;
    assert!(
        page.text()
            .contains("The name must have at most 256 bytes.")
    );
    let lines = [("content-type", FORM)];
    let refused = client
        .send_with(Method::POST, "/sign-in", &lines, "name=Eve")
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn another_user_gets_no_data_of_the_former_user() {
    let app = start();
    let mut client = Remote::http1(app.address);
    let fields = [("language", "en"), ("rows", "20")];
    post_form(&mut client, "/preferences", &fields).await;
    for (name, rows) in [("Ada", 20), ("Ada", 20), ("Bob", 0)] {
        let before = client.jar.get("session").unwrap().to_owned();
        post_form(&mut client, "/sign-in", &[("name", name)]).await;
        assert_ne!(client.jar.get("session").unwrap(), before);
        let page = client.get("/").await;
        assert!(page.text().contains(&format!("signed in as {name}")));
        assert_eq!(client.get("/preferences").await.json()["rows"], rows);
    }
}

#[tokio::test]
async fn preferences_are_typed_data_from_forms_and_json() {
    let app = start();
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
    let answer = client.send_with(Method::POST, path, &lines, body).await;
    assert_eq!(answer.json(), json!({"language": "en", "rows": 5}));
    assert_eq!(client.get("/preferences").await.json()["rows"], 5);
    let body = json!({"language": "en", "rows": "many", "_csrf": token}).to_string();
    let answer = client.send_with(Method::POST, path, &lines, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn sockets_and_events_know_the_visitor() {
    let app = start();
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
    // The sockets' tasks counted them in the session.
    assert_eq!(client.get("/api/messages").await.json(), json!(4));
    let events = client.get("/events").await;
    assert_eq!(
        events.text(),
        "data: 1 Ada\n\ndata: 2 Ada\n\ndata: 3 Ada\n\n"
    );
}

/// A key leads through two rotations at most, so the socket must follow each of them.
#[tokio::test]
async fn a_socket_follows_the_rotations_of_its_session() {
    let app = start();
    let mut client = Remote::http1(app.address);
    let mut token = client.get("/api/token").await.text().to_owned();
    let cookie = format!("session={}", client.jar.get("session").unwrap());
    let lines = [("cookie", &*cookie)];
    let mut socket = WebSocket::connect(app.address, "/socket", &lines).await;
    for message in 1..=5 {
        socket.send("hello").await;
        let expected = format!("visitor, connection 1, message {message}: hello");
        assert_eq!(socket.receive().await, expected);
        let before = client.jar.get("session").unwrap().to_owned();
        let lines = [("x-csrf-token", &*token)];
        let rotated = client
            .send_with(Method::POST, "/api/rotate", &lines, "")
            .await;
        assert_eq!(rotated.status, StatusCode::NO_CONTENT);
        assert_ne!(client.jar.get("session").unwrap(), before);
        token = client.get("/api/token").await.text().to_owned();
    }
    assert_eq!(client.get("/api/messages").await.json(), json!(5));
}

#[tokio::test]
async fn the_layers_above_and_below_the_sessions_do_their_work() {
    let app = start();
    let mut client = Remote::http1(app.address);
    let lines = [FRONT_END, ("accept-encoding", "gzip")];
    let page = client.send_with(Method::GET, "/", &lines, "").await;
    assert_eq!(page.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(
        page.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        FRONT_END.1
    );
    assert!(page.headers.contains_key(header::SET_COOKIE));

    // The timeout is inside of the sessions, so the message of the handler is stored. A timeout outside of
    // them would answer too, and lose it.
    let slow = client.get("/slow").await;
    assert_eq!(slow.status, StatusCode::GATEWAY_TIMEOUT);
    let page = client.get("/").await;
    assert!(
        page.text().contains("Your last request took too long."),
        "{}",
        page.text()
    );
}

/// A request of the front end's scripts, as a browser sends it.
async fn cross_origin(
    client: &mut Remote,
    (method, path): (Method, &str),
    (origin, site): (&str, &str),
    lines: &[(&str, &str)],
    body: String,
) -> Answer {
    let mut all = vec![("origin", origin), ("sec-fetch-site", site)];
    all.extend(lines);
    client.send_with(method, path, &all, body).await
}

#[tokio::test]
async fn scripts_of_the_front_end_change_the_session_and_those_of_others_do_not() {
    let app = start();
    let path = "/api/preferences";
    let own = (FRONT_END.1, "same-site");
    let json = ("content-type", "application/json");
    let body = |rows: u32| json!({"language": "en", "rows": rows}).to_string();

    // A browser asks first. The CORS layer answers it without a session.
    let mut client = Remote::http1(app.address);
    let lines = [
        FRONT_END,
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type,x-csrf-token",
        ),
    ];
    let preflight = client.send_with(Method::OPTIONS, path, &lines, "").await;
    let allowed = |name| preflight.headers.get(name).map(|it| it.to_str().unwrap());
    assert_eq!(allowed("access-control-allow-origin"), Some(FRONT_END.1));
    assert_eq!(allowed("access-control-allow-credentials"), Some("true"));
    assert!(
        allowed("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    for name in ["content-type", "x-csrf-token"] {
        assert!(
            allowed("access-control-allow-headers")
                .unwrap()
                .contains(name)
        );
    }
    assert_eq!(allowed("set-cookie"), None);

    let get = (Method::GET, "/api/token");
    let token = cross_origin(&mut client, get, own, &[], String::new()).await;
    assert_eq!(
        token.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        FRONT_END.1
    );
    let lines = [json, ("x-csrf-token", token.text())];
    let post = || (Method::POST, path);
    let saved = cross_origin(&mut client, post(), own, &lines, body(7)).await;
    assert_eq!(saved.json()["rows"], 7);
    assert_eq!(
        saved.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        FRONT_END.1
    );

    for other in [
        ("https://evil.example", "cross-site"),
        ("http://127.0.0.1:6000", "same-site"),
    ] {
        let refused = cross_origin(&mut client, post(), other, &lines, body(8)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{other:?}");
        let allowed = refused.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert!(allowed.is_none_or(|allowed| allowed != other.0));
    }
    let untrusted = cross_origin(&mut client, post(), own, &[json], body(9)).await;
    assert_eq!(
        untrusted.status,
        StatusCode::FORBIDDEN,
        "the token is missing"
    );
    assert_eq!(client.get("/preferences").await.json()["rows"], 7);
}

#[tokio::test]
async fn an_upgraded_connection_counts_until_it_closes_and_a_stop_closes_it() {
    let mut command = command();
    command.env("MAX_CONNECTIONS", "2").env("RUST_LOG", "info");
    let app = ServerProcess::start(&mut command);
    let first = WebSocket::connect(app.address, "/socket", &[]).await;
    let mut second = WebSocket::connect(app.address, "/socket", &[]).await;
    let address = app.address;
    let mut waiting = tokio::spawn(async move { Remote::http1(address).get("/api/token").await });
    let time = std::time::Duration::from_millis(300);
    let early = tokio::time::timeout(time, &mut waiting).await;
    assert!(early.is_err(), "both connections are open");
    drop(first);
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    second.send("hello").await;
    assert!(second.receive().await.ends_with("message 1: hello"));

    app.signal("TERM");
    assert_eq!(second.receive_close().await, GOING_AWAY);
    let exit = tokio::task::spawn_blocking(move || app.wait());
    let exit = exit.await.unwrap();
    assert!(exit.status.success());
    assert!(!exit.stderr.contains("did not close"), "{}", exit.stderr);
    // The layer of tower-http logs each request, and the answer that the layers below it made.
    let log = &exit.stderr;
    assert!(
        log.contains("uri=/api/token") && log.contains("status=200"),
        "{log}"
    );
}
