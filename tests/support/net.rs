//! A server on a loopback port, HTTP/1 and HTTP/2, and a client for it.

use std::{error::Error as StdError, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    service::Service,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{Jar, secrets};

/// A running server. Stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves `service` on a free port, in HTTP/1 and HTTP/2, with upgrades.
pub async fn serve<S, B>(service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    serve_with(service, false).await
}

/// Serves `service`. With `half_close`, HTTP/1 answers clients that have closed their sending side.
pub async fn serve_with<S, B>(service: S, half_close: bool) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http1().half_close(half_close);
                // WebSockets over HTTP/2 (RFC 8441).
                builder.http2().enable_connect_protocol();
                let _ = builder
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Server { address, accepting }
}

/// Connects a client over HTTP/2, and waits for the settings of the server.
pub async fn connect_http2(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let connected = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut client, connection) = connected.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}/"));
    let request = request.body(Empty::new()).unwrap();
    client.send_request(request).await.unwrap();
    client
}

/// A browser that uses the network.
#[derive(Clone)]
pub struct Remote {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    pub jar: Jar,
}

/// A response with its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Remote {
    pub fn http1(address: SocketAddr) -> Self {
        Self::new(address, false)
    }

    pub fn http2(address: SocketAddr) -> Self {
        Self::new(address, true)
    }

    fn new(address: SocketAddr, http2: bool) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(http2)
            .build_http();
        Self {
            address,
            client,
            jar: Jar::default(),
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body).await
    }

    pub async fn send(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    /// Sends a request with these headers and the cookies of the jar.
    pub async fn send_with(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        self.jar.add_to(request.headers_mut().unwrap());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.send_request(request).await
    }

    /// Returns `true` if a POST succeeds, and `false` on any failure, also of the connection.
    pub async fn try_post(&mut self, path: &str, body: impl Into<Bytes>) -> bool {
        let mut request = Request::post(format!("http://{}{path}", self.address));
        self.jar.add_to(request.headers_mut().unwrap());
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = self.client.request(request).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Sends a request unchanged. The jar takes the cookies of the response.
    pub async fn send_request(&mut self, mut request: Request<Full<Bytes>>) -> Answer {
        if request.uri().authority().is_none() {
            let path = request.uri().path().to_owned();
            *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        secrets::record_request(self.address, &head.headers, &body);
        let request = Request::from_parts(head, Full::new(body));
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        secrets::record_response(self.address, &head.headers);
        self.jar.take_from(&head.headers);
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
