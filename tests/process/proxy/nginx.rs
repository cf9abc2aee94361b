//! A real nginx in front of the proxy.

use http::Method;

use super::support::{PASSWORD, Proxy, cookie, sign_in, upstream};
use crate::support::{net::Remote, nginx::Nginx, websocket::WebSocket};

#[tokio::test]
async fn the_proxy_works_behind_nginx() {
    let upstream = upstream().await;
    let trusted = [("TRUSTED_PROXIES", "127.0.0.1")];
    let proxy = Proxy::start(upstream.address, &trusted);
    let map = "map $http_upgrade $connection_header { default upgrade; '' ''; }";
    let server = format!(
        "location / {{
             proxy_pass http://{};
             proxy_http_version 1.1;
             proxy_set_header Host site.example;
             proxy_set_header X-Forwarded-For $remote_addr;
             proxy_set_header X-Forwarded-Proto https;
             proxy_set_header X-Forwarded-Host site.example;
             proxy_set_header Upgrade $http_upgrade;
             proxy_set_header Connection $connection_header;
         }}",
        proxy.address
    );
    let nginx = Nginx::start(map, &server).await;
    let mut client = Remote::http1(nginx.address);
    assert_eq!(client.get("/x").await.status, 401);
    sign_in(&mut client, "", PASSWORD).await;

    let lines = [
        ("x-user", "root"),
        ("x-forwarded-for", "10.0.0.1"),
        ("cookie", "theme=dark"),
    ];
    let sent = client.send_with(Method::GET, "/x", &lines, "").await.json()["headers"].clone();
    assert_eq!(sent["x-user"], "ada");
    assert_eq!(sent["cookie"], "theme=dark");
    assert_eq!(sent["host"], "site.example");
    assert_eq!(
        sent["x-forwarded-for"], "127.0.0.1, 127.0.0.1",
        "the client of nginx, and nginx"
    );
    assert_eq!(sent["x-forwarded-proto"], "https");
    assert_eq!(sent["x-forwarded-host"], "site.example");
    assert_eq!(sent["via"], "1.1 hyper-session");

    let body = "x".repeat(300_000);
    let answer = client.post("/count", body).await;
    assert_eq!(answer.text(), "300000");
    let huge = client.get("/huge?20").await;
    assert_eq!(huge.body.len(), 20 * 1024 * 1024);

    let cookie = cookie(&client);
    let lines = [("cookie", &*cookie)];
    let mut socket = WebSocket::connect(nginx.address, "/socket", &lines).await;
    socket.send("hello").await;
    assert_eq!(socket.receive().await, "ada: hello");
}
