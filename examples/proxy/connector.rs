//! Connections to the upstream server.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tower_service::Service;

use crate::{BoxError, serve::LimitedStream, settings::Settings};

/// Opens connections on which a write fails if the server accepts no byte for too long. Without this, a
/// connection whose request was given up stays open until the server reads the request.
#[derive(Clone)]
pub(crate) struct Connector {
    http: HttpConnector,
    write_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(settings.connect_timeout));
        http.set_nodelay(true);
        Self {
            http,
            write_timeout: settings.upstream_timeout,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<LimitedStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (connection, timeout) = (self.http.call(target), self.write_timeout);
        Box::pin(async move {
            let stream = connection.await?.into_inner();
            Ok(TokioIo::new(LimitedStream::new(stream, timeout, None)))
        })
    }
}

impl Connection for LimitedStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
