//! Sessions around a gRPC service of tonic.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use http::Request;
use hyper::body::Incoming;
use hyper_session::{Session, SessionExt};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
    service::TowerToHyperService,
};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};
use tower_layer::Layer;

use crate::support::{
    Call, config,
    net::{Server, serve},
    test_server,
};

/// Messages of bytes, without an encoding.
#[derive(Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Responds with the request's message and metadata, or with a status that has the metadata.
struct Echo;

impl tower_service::Service<tonic::Request<Bytes>> for Echo {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = BoxFuture<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (metadata, _, message) = request.into_parts();
        let mut copied = MetadataMap::new();
        copied.insert("x-text", metadata.get("x-text").unwrap().clone());
        copied.insert_bin(
            "x-bytes-bin",
            metadata.get_bin("x-bytes-bin").unwrap().clone(),
        );
        Box::pin(async move {
            if message == "fail" {
                return Err(Status::with_metadata(
                    tonic::Code::Aborted,
                    "on request",
                    copied,
                ));
            }
            let mut response = tonic::Response::new(message);
            *response.metadata_mut() = copied;
            Ok(response)
        })
    }
}

/// Counts the calls of a session, if there is one.
#[derive(Clone)]
struct CountingServer;

impl tower_service::Service<Request<Incoming>> for CountingServer {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let session: Option<Session> = request.session().ok().cloned();
        Box::pin(async move {
            if let Some(session) = session {
                session.load().await.unwrap().increment("n").unwrap();
            }
            Ok(tonic::server::Grpc::new(BytesCodec)
                .unary(Echo, request)
                .await)
        })
    }
}

/// Calls the service. Returns the message, and the metadata of the response or of the status.
async fn call(
    server: &Server,
    message: &str,
    cookie: Option<&str>,
) -> (Result<Bytes, (tonic::Code, String)>, MetadataMap) {
    let client: Client<HttpConnector, tonic::body::Body> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let origin = format!("http://{}", server.address).parse().unwrap();
    let mut grpc = tonic::client::Grpc::with_origin(client, origin);
    let mut request = tonic::Request::new(Bytes::from(message.to_owned()));
    let metadata = request.metadata_mut();
    metadata.insert("x-text", "a text".parse().unwrap());
    let bytes = tonic::metadata::MetadataValue::from_bytes(&[0, 159, 146, 150]);
    metadata.insert_bin("x-bytes-bin", bytes);
    if let Some(cookie) = cookie {
        metadata.insert("cookie", cookie.parse().unwrap());
    }
    grpc.ready()
        .await
        .map_err(Into::into)
        .unwrap_or_else(|error: Box<dyn std::error::Error + Send + Sync>| panic!("{error}"));
    let path = http::uri::PathAndQuery::from_static("/echo.Echo/Call");
    match grpc.unary(request, path, BytesCodec).await {
        Ok(response) => {
            let (metadata, message, _) = response.into_parts();
            (Ok(message), metadata)
        }
        Err(status) => {
            let failure = (status.code(), status.message().to_owned());
            (Err(failure), status.metadata().clone())
        }
    }
}

/// Returns the metadata without the session's headers and without the date.
fn own_metadata(mut metadata: MetadataMap) -> http::HeaderMap {
    for name in ["set-cookie", "vary", "cache-control", "date"] {
        metadata.remove(name);
    }
    metadata.into_headers()
}

#[tokio::test]
async fn metadata_and_status_are_those_of_the_service_and_the_cookie_is_metadata_too() {
    let setup = test_server(config());
    let plain = serve(TowerToHyperService::new(CountingServer)).await;
    let layered = setup.sessions.layer().layer(CountingServer);
    let server = serve(TowerToHyperService::new(layered)).await;
    for message in ["", "a message", "fail"] {
        let (expected, expected_metadata) = call(&plain, message, None).await;
        let (result, metadata) = call(&server, message, None).await;
        assert_eq!(result, expected);
        let cookie = metadata.get("set-cookie").unwrap().to_str().unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        assert_eq!(
            own_metadata(metadata.clone()),
            own_metadata(expected_metadata)
        );

        // The next call has the session of the cookie, also after a call that failed.
        let (result, _) = call(&server, "again", Some(cookie)).await;
        assert_eq!(result.unwrap(), "again");
        let stored = setup.events.with_name("committed");
        let keys = &stored[stored.len() - 2..];
        assert_eq!(keys[0].keys, keys[1].keys);
    }
}

#[tokio::test]
async fn a_store_that_fails_is_the_status_unavailable() {
    let setup = test_server(config());
    let layered = setup.sessions.layer().layer(CountingServer);
    let server = serve(TowerToHyperService::new(layered)).await;
    setup.store.fail(Call::Write);
    let (result, _) = call(&server, "a message", None).await;
    assert_eq!(result.unwrap_err().0, tonic::Code::Unavailable);
}
