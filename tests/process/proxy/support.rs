//! The proxy example as a process, and upstream servers for it.

use std::{convert::Infallible, net::SocketAddr, process::Command, time::Duration};

use argon2::{Argon2, Params, password_hash::PasswordHasher};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    ServerProcess, example,
    net::{Answer, Remote, Server, serve},
    scratch::Scratch,
};

pub(crate) const PASSWORD: &str = "correct horse";

/// A running proxy. Killed when dropped.
pub(crate) struct Proxy {
    pub(crate) process: ServerProcess,
    pub(crate) address: SocketAddr,
    _users: Scratch,
}

impl Proxy {
    /// Starts the proxy in front of an upstream server, with one user, `ada`.
    pub(crate) fn start(upstream: SocketAddr, variables: &[(&str, &str)]) -> Self {
        let users = Scratch::new();
        let file = users.path().join("users");
        let fast = Argon2::new(
            argon2::Algorithm::default(),
            argon2::Version::default(),
            Params::new(64, 1, 1, None).unwrap(),
        );
        let hash = fast.hash_password(PASSWORD.as_bytes()).unwrap();
        std::fs::write(&file, format!("ada:{hash}\n")).unwrap();
        let mut command = Command::new(example("proxy"));
        command
            .env_clear()
            .env("ADDR", "127.0.0.1:0")
            .env("APP_KEY", "a secret that no documentation holds")
            .env("UPSTREAM", format!("http://{upstream}"))
            .env("USERS", file)
            .envs(variables.iter().copied());
        let process = ServerProcess::start(&mut command);
        Self {
            address: process.address,
            process,
            _users: users,
        }
    }

    /// Returns a number of the process from `/proc`, in KB.
    pub(crate) fn memory(&self, name: &str) -> usize {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line.unwrap().trim_start_matches(':').trim_end_matches("kB");
        text.trim().parse().unwrap()
    }
}

/// Asks a program to stop, and returns when it accepts no more connections.
pub(crate) async fn stop(process: &ServerProcess) {
    process.signal("TERM");
    while TcpStream::connect(process.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends the sign-in form with this password.
pub(crate) async fn sign_in(client: &mut Remote, target: &str, password: &str) -> Answer {
    let form = client.get(&format!("/proxy/sign-in{target}")).await;
    let (_, rest) = form.text().split_once("name=\"_csrf\" value=\"").unwrap();
    let (token, _) = rest.split_once('"').unwrap();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("_csrf", token)
        .append_pair("name", "ada")
        .append_pair("password", password)
        .finish();
    let lines = [("content-type", "application/x-www-form-urlencoded")];
    client
        .send_with(Method::POST, "/proxy/sign-in", &lines, body)
        .await
}

/// Returns the session's cookie as a header value.
pub(crate) fn cookie(client: &Remote) -> String {
    format!("session={}", client.jar.get("session").unwrap())
}

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// Starts an upstream server:
///
/// - `…/stream` returns each frame of the request's body at once;
/// - `…/count` returns the length of the request's body;
/// - `…/huge` sends the number of megabytes in the query;
/// - `…/cookies` sets cookies, one of them with the name of the session's;
/// - `…/hops` sends headers of its connection, and trailers;
/// - `…/socket` is a WebSocket that answers with the user and the text;
/// - any other path returns the request as JSON, with its trailers.
pub(crate) async fn upstream() -> Server {
    serve(service_fn(async |request: Request<Incoming>| {
        let last = request.uri().path().rsplit('/').next().unwrap().to_owned();
        Ok::<_, Infallible>(match &*last {
            "stream" => Response::new(
                request
                    .into_body()
                    .map_err(|_| unreachable!())
                    .boxed_unsync(),
            ),
            "count" => {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(frame) = body.frame().await {
                    length += frame.unwrap().into_data().unwrap().len();
                }
                Response::new(full(length.to_string()))
            }
            "huge" => huge(request.uri().query().unwrap().parse().unwrap()),
            "cookies" => cookies(),
            "hops" => hops(),
            "socket" => socket(request),
            _ => Response::new(full(describe(request).await.to_string())),
        })
    }))
    .await
}

/// Describes a request as JSON.
async fn describe(request: Request<Incoming>) -> Value {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().map(lines);
    json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": lines(&head.headers),
        "trailers": trailers,
        "body": String::from_utf8_lossy(&body.to_bytes()),
    })
}

/// Returns headers by name. Several lines of one name are a list.
fn lines(headers: &HeaderMap) -> Value {
    let value = |name: &HeaderName| {
        let values = headers.get_all(name).into_iter();
        let mut values: Vec<Value> = values.map(|it| it.to_str().unwrap().into()).collect();
        match values.len() {
            1 => values.remove(0),
            _ => values.into(),
        }
    };
    headers
        .keys()
        .map(|name| (name.to_string(), value(name)))
        .collect()
}

fn huge(megabytes: usize) -> Response<Body> {
    let megabyte = Bytes::from(vec![b'x'; 1024 * 1024]);
    let frames = (0..megabytes).map(move |_| Ok(Frame::data(megabyte.clone())));
    Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
}

fn cookies() -> Response<Body> {
    let mut response = Response::new(full(""));
    for cookie in [
        "session=theirs; Path=/",
        "theme=dark; Path=/",
        "session=; Max-Age=0",
    ] {
        let line = HeaderValue::from_static(cookie);
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}

fn hops() -> Response<Body> {
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("x-sum"),
        HeaderValue::from_static("42"),
    )]);
    let frames = [Frame::data(Bytes::from("body")), Frame::trailers(trailers)];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok)));
    let response = Response::builder()
        .header(header::CONNECTION, "x-hop, keep-alive")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header(header::TRAILER, "x-sum")
        .header("x-hop", "1")
        .header("x-end", "1");
    response.body(body.boxed_unsync()).unwrap()
}

/// Answers each short text message with the user and the text.
fn socket(mut request: Request<Incoming>) -> Response<Body> {
    let user = request
        .headers()
        .get("x-user")
        .map(|it| it.to_str().unwrap());
    let user = user.unwrap_or("visitor").to_owned();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut head = [0; 6];
        while stream.read_exact(&mut head).await.is_ok() {
            // The test's client masks with zeros.
            let mut text = vec![0; usize::from(head[1] & 0x7f)];
            stream.read_exact(&mut text).await.unwrap();
            let answer = [user.as_bytes(), b": ", &text].concat();
            let mut frame = vec![0x81, u8::try_from(answer.len()).unwrap()];
            frame.extend_from_slice(&answer);
            stream.write_all(&frame).await.unwrap();
        }
    });
    let response = Response::builder()
        .status(101)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket");
    response.body(full("")).unwrap()
}

/// Opens a connection and sends these bytes.
pub(crate) async fn open(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Sends these bytes, and returns all that the server answers before it closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = open(address, bytes).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads until the bytes that arrived contain `text`, and returns them.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let byte = stream
            .read_u8()
            .await
            .expect("the text arrives before the end");
        read.push(char::from(byte));
    }
    read
}
