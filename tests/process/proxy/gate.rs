//! The proxy's gate: who passes it, and what the upstream server learns.

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::support::{PASSWORD, Proxy, cookie, raw, sign_in, upstream};
use crate::support::{net::Remote, websocket::WebSocket};

const HTML: (&str, &str) = ("accept", "text/html,*/*");

/// Returns the headers that the upstream server gets.
async fn headers(client: &mut Remote, path: &str, lines: &[(&str, &str)]) -> Value {
    let answer = client.send_with(Method::GET, path, lines, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["headers"].clone()
}

#[tokio::test]
async fn a_visitor_signs_in_and_returns_to_the_page() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    for mut client in [Remote::http1(proxy.address), Remote::http2(proxy.address)] {
        let refused = client.send_with(Method::GET, "/reports?a=1", &[], "").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let refused = client
            .send_with(Method::GET, "/reports?a=1", &[HTML], "")
            .await;
        assert_eq!(refused.status, StatusCode::SEE_OTHER);
        let location = refused.headers[header::LOCATION].to_str().unwrap();
        assert_eq!(location, "/proxy/sign-in?to=%2Freports%3Fa%3D1");
        let target = location.strip_prefix("/proxy/sign-in").unwrap();

        let wrong = sign_in(&mut client, target, "wrong").await;
        assert_eq!(wrong.headers[header::LOCATION], "/proxy/sign-in");
        let form = client.get("/proxy/sign-in").await;
        assert!(form.text().contains("Wrong name or password."));
        assert!(!client.get("/proxy/sign-in").await.text().contains("Wrong"));

        let before = client.jar.get("session").unwrap().to_owned();
        let answer = sign_in(&mut client, "", PASSWORD).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.headers[header::LOCATION], "/reports?a=1");
        assert_ne!(client.jar.get("session").unwrap(), before);
        let page = client.get("/reports?a=1").await.json();
        assert_eq!(page["target"], "/reports?a=1");
        assert_eq!(page["headers"]["x-user"], "ada");

        let refused = client
            .send_with(Method::POST, "/proxy/sign-out", &[], "")
            .await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "without a token");
        let token = client.get("/proxy/sign-in").await;
        let (_, token) = token.text().split_once("value=\"").unwrap();
        let token = token.split('"').next().unwrap().to_owned();
        let lines = [("x-csrf-token", &*token)];
        client
            .send_with(Method::POST, "/proxy/sign-out", &lines, "")
            .await;
        assert_eq!(
            client.get("/reports").await.status,
            StatusCode::UNAUTHORIZED
        );
    }
}

#[tokio::test]
async fn a_redirect_after_the_sign_in_stays_on_this_origin() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let mut client = Remote::http1(proxy.address);
    let answer = sign_in(&mut client, "?to=//evil.example/", PASSWORD).await;
    assert_eq!(answer.headers[header::LOCATION], "/");
}

#[tokio::test]
async fn the_upstream_server_never_gets_the_session_cookie() {
    let upstream = upstream().await;
    // The cookie store has more cookies than the id's.
    let drivers = [("SESSION_DRIVER", "memory"), ("SESSION_DRIVER", "cookie")];
    for driver in drivers {
        let proxy = Proxy::start(upstream.address, &[driver]);
        for mut client in [Remote::http1(proxy.address), Remote::http2(proxy.address)] {
            sign_in(&mut client, "", PASSWORD).await;
            let own = headers(&mut client, "/x", &[]).await;
            assert_eq!(own["x-user"], "ada");
            assert_eq!(own["cookie"], Value::Null);
            for path in ["/x", "/public/x"] {
                // One `Cookie` line for the upstream server, also if HTTP/2 sent several.
                let lines = [("cookie", "theme=dark"), ("cookie", "lang=\"en\"")];
                let sent = headers(&mut client, path, &lines).await;
                assert_eq!(sent["cookie"], "theme=dark; lang=\"en\"");
            }
        }
    }
}

#[tokio::test]
async fn a_path_that_a_server_may_read_as_another_one_is_refused() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    for path in [
        "/public/../reports",
        "/public/./../reports",
        "/public/..",
        "/public/%2e%2E/reports",
        "/public/.%2e/reports",
        "/public/..%2Freports",
        "/public/..%5creports",
        "/public/..\\reports",
        "/public/..;/reports",
        "/public/..;a=1/reports",
        "/public/.;/..;/reports",
        "/public/..%3B/reports",
        "/public/%252e%252E/reports",
        "/public/..%252Freports",
        "/public/..%255creports",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = raw(proxy.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    let mut client = Remote::http1(proxy.address);
    for path in [
        "/public/a..b/.c",
        "/public/a.b;v=1.2/100%25",
        "/public/..a;b",
    ] {
        headers(&mut client, path, &[]).await;
    }
}

#[tokio::test]
async fn a_client_cannot_forge_the_user() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let forged = [("x-user", "root"), ("X_User", "root"), ("x_user", "root")];
    for mut client in [Remote::http1(proxy.address), Remote::http2(proxy.address)] {
        let sent = headers(&mut client, "/public/x", &forged).await;
        assert_eq!(
            (&sent["x-user"], &sent["x_user"]),
            (&Value::Null, &Value::Null)
        );
        sign_in(&mut client, "", PASSWORD).await;
        let sent = headers(&mut client, "/x", &forged).await;
        assert_eq!(
            (&sent["x-user"], &sent["x_user"]),
            (&json!("ada"), &Value::Null)
        );
    }
    let mut client = Remote::http1(proxy.address);
    sign_in(&mut client, "", PASSWORD).await;
    // A client may name any header in `Connection`.
    let lines = format!(
        "cookie: {}\r\nconnection: close, x-user, host, cookie, x-forwarded-for\r\n",
        cookie(&client)
    );
    let answer = raw(
        proxy.address,
        &format!("GET /x HTTP/1.1\r\nhost: h\r\n{lines}\r\n"),
    )
    .await;
    assert!(answer.contains("\"x-user\":\"ada\""), "{answer}");
    assert!(
        answer.contains("\"x-forwarded-for\":\"127.0.0.1\""),
        "{answer}"
    );
    assert!(answer.contains("\"host\":\"h\""), "{answer}");
    // Trailers may be merged into the headers.
    let body = "4\r\nbody\r\n0\r\nx-user: root\r\nx_user: root\r\nx-sum: 42\r\n\r\n";
    let lines = "connection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-user, x_user, x-sum";
    let request = format!("POST /public/x HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n{body}");
    let answer = raw(proxy.address, &request).await;
    assert!(
        answer.contains("\"trailers\":{\"x-sum\":\"42\"}"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_the_session_to_change_something() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let mut client = Remote::http1(proxy.address);
    sign_in(&mut client, "", PASSWORD).await;
    let own = format!("http://{}", proxy.address);
    for (line, status) in [
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("sec-fetch-site", "same-origin"), 200),
        (("origin", &*own), 200),
        (("x-none", "1"), 200),
    ] {
        let answer = client.send_with(Method::POST, "/x", &[line], "").await;
        assert_eq!(answer.status, status, "{line:?}");
        let answer = client.send_with(Method::GET, "/x", &[line], "").await;
        assert_eq!(answer.status, 200, "{line:?}");
    }
}

#[tokio::test]
async fn the_upstream_server_cannot_replace_the_session() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let mut client = Remote::http1(proxy.address);
    sign_in(&mut client, "", PASSWORD).await;
    for path in ["/public/cookies", "/cookies"] {
        let answer = client.get(path).await;
        let set: Vec<_> = answer.headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(set, ["theme=dark; Path=/"], "{path}");
    }
    assert_eq!(client.get("/x").await.status, 200, "still signed in");
}

#[tokio::test]
async fn a_websocket_knows_the_user() {
    let upstream = upstream().await;
    let proxy = Proxy::start(
        upstream.address,
        &[("TUNNELS", "1"), ("TUNNEL_TIMEOUT", "5")],
    );
    let mut client = Remote::http1(proxy.address);
    sign_in(&mut client, "", PASSWORD).await;
    let cookie = cookie(&client);
    let handshake = |lines: &str| {
        format!(
            "GET /socket HTTP/1.1\r\nhost: h\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n{lines}\r\n"
        )
    };
    for (lines, status) in [
        (String::new(), "401"),
        (
            format!("cookie: {cookie}\r\norigin: https://evil.example\r\n"),
            "403",
        ),
    ] {
        let answer = raw(proxy.address, &handshake(&lines)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    let lines = [("cookie", &*cookie), ("x-user", "root")];
    let mut socket = WebSocket::connect(proxy.address, "/socket", &lines).await;
    for text in ["hello", "again"] {
        socket.send(text).await;
        assert_eq!(socket.receive().await, format!("ada: {text}"));
    }
    let lines = format!("cookie: {cookie}\r\n");
    let answer = raw(proxy.address, &handshake(&lines)).await;
    assert!(
        answer.starts_with("HTTP/1.1 503"),
        "one tunnel is open: {answer}"
    );
    assert!(socket.is_closed().await, "a silent socket is closed");
    let lines = [("cookie", &*cookie)];
    let mut socket = WebSocket::connect(proxy.address, "/socket", &lines).await;
    socket.send("free").await;
    assert_eq!(socket.receive().await, "ada: free");
}

#[tokio::test]
async fn other_upgrades_are_not_forwarded() {
    let upstream = upstream().await;
    let proxy = Proxy::start(upstream.address, &[]);
    let lines = "connection: close, upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__";
    let request = format!("GET /public/x HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n");
    let answer = raw(proxy.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !answer.contains("\"upgrade\"") && !answer.contains("http2-settings"),
        "{answer}"
    );
}
