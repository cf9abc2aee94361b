//! A real nginx in front of the proxy.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use http::Method;

use super::support::{PASSWORD, Proxy, cookie, send, sign_in, upstream};
use crate::support::{net::Remote, scratch::Scratch, websocket::WebSocket};

/// A running nginx. Killed when dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: Scratch,
}

impl Nginx {
    /// Starts nginx in front of a server, as for a site with TLS.
    async fn start(server: SocketAddr) -> Self {
        let folder = Scratch::new();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let root = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr;
             events {{ worker_connections 64; }}
             http {{
                 access_log off;
                 client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
                 fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
                 map $http_upgrade $connection_header {{ default upgrade; '' ''; }}
                 server {{
                     listen {address};
                     location / {{
                         proxy_pass http://{server};
                         proxy_http_version 1.1;
                         proxy_set_header Host site.example;
                         proxy_set_header X-Forwarded-For $remote_addr;
                         proxy_set_header X-Forwarded-Proto https;
                         proxy_set_header X-Forwarded-Host site.example;
                         proxy_set_header Upgrade $http_upgrade;
                         proxy_set_header Connection $connection_header;
                     }}
                 }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (Debian's package `nginx-light`)");
        let mut nginx = Self {
            child,
            address,
            _folder: folder,
        };
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(nginx.child.try_wait().unwrap().is_none(), "nginx ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_proxy_works_behind_nginx() {
    let upstream = upstream().await;
    let trusted = [("TRUSTED_PROXIES", "127.0.0.1")];
    let proxy = Proxy::start(upstream.address, &trusted);
    let nginx = Nginx::start(proxy.address).await;
    let mut client = Remote::http1(nginx.address);
    assert_eq!(client.get("/x").await.status, 401);
    sign_in(&mut client, "", PASSWORD).await;

    let lines = [
        ("x-user", "root"),
        ("x-forwarded-for", "10.0.0.1"),
        ("cookie", "theme=dark"),
    ];
    let sent = send(&mut client, Method::GET, "/x", &lines, "")
        .await
        .json()["headers"]
        .clone();
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
