//! Requests to the upstream server.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, UPGRADE},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Either;
use hyper::{
    body::{Body as _, Incoming},
    upgrade::OnUpgrade,
};
use hyper_session::Sessions;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    ResponseFuture,
    body::{Progress, SilentSender, StreamedBody},
    connector::Connector,
    headers,
    pages::{ProxyBody, status_page},
    settings::Settings,
    tunnel, with_sources,
};

/// The time that an idle connection to the upstream server stays open. Shorter than the 5 seconds of Node.js and
/// Apache, so that few requests meet a connection that is just closing.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The upstream server, with a pool of connections.
pub(crate) struct Upstream {
    client: Client<Connector, StreamedBody>,
    authority: Authority,
    /// Their cookies are not forwarded.
    sessions: Option<Sessions>,
    trusted_proxies: Vec<IpAddr>,
    connect_timeout: Duration,
    timeout: Duration,
    tunnel_timeout: Duration,
    requests: Arc<Semaphore>,
    tunnels: Arc<Semaphore>,
    /// The last request failed. Only the first failure is printed.
    is_failing: AtomicBool,
}

/// The status for a request that the upstream server did not answer, and the reason.
struct Failure(StatusCode, String);

impl Upstream {
    pub(crate) fn new(settings: &Settings, sessions: Option<Sessions>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build(Connector::new(settings));
        Self {
            client,
            authority: settings.upstream.clone(),
            sessions,
            trusted_proxies: settings.trusted_proxies.clone(),
            connect_timeout: settings.connect_timeout,
            timeout: settings.upstream_timeout,
            tunnel_timeout: settings.tunnel_timeout,
            requests: Arc::new(Semaphore::new(settings.requests as usize)),
            tunnels: Arc::new(Semaphore::new(settings.tunnels as usize)),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Forwards a request without a user.
    pub(crate) fn forward_public(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> ResponseFuture {
        Box::pin(async move { Ok(self.forward(request, client, None).await) })
    }

    /// Forwards a request of this client and user. Returns the upstream server's response, or a page with
    /// the status of the failure.
    pub(crate) async fn forward(
        &self,
        mut request: Request<Incoming>,
        client: IpAddr,
        user: Option<&HeaderValue>,
    ) -> Response<ProxyBody> {
        let is_websocket = headers::is_websocket(&request);
        let upgrade = is_websocket.then(|| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        if let Err(status) = self.prepare(&mut head, client, user, is_websocket) {
            return status_page(status);
        }
        // Waits as long as for a new connection.
        let permit = timeout(self.connect_timeout, self.requests.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return status_page(StatusCode::SERVICE_UNAVAILABLE);
        };
        let permit = Arc::new(permit);
        match self.send(head, body, permit.clone()).await {
            Ok(response) => {
                if self.is_failing.swap(false, Relaxed) {
                    eprintln!("upstream server: answers again");
                }
                self.respond(response, upgrade, permit)
            }
            Err(Failure(status, reason)) => {
                if status.is_server_error() && !self.is_failing.swap(true, Relaxed) {
                    eprintln!("upstream server: {reason}");
                }
                status_page(status)
            }
        }
    }

    /// Prepares a request's target and headers for the upstream server.
    fn prepare(
        &self,
        head: &mut Parts,
        client: IpAddr,
        user: Option<&HeaderValue>,
        is_websocket: bool,
    ) -> Result<(), StatusCode> {
        if head.method == Method::CONNECT {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let host = headers::requested_host(head).ok_or(StatusCode::BAD_REQUEST)?;
        if let Some(sessions) = &self.sessions {
            sessions.strip_cookies(&mut head.headers);
        }
        let client = headers::Client {
            address: client,
            is_trusted: self.trusted_proxies.contains(&client.to_canonical()),
            user,
        };
        headers::prepare_request(head, host, &client, is_websocket);
        let path = head.uri.path_and_query().cloned();
        let mut target = http::uri::Parts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        target.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
        head.uri = Uri::from_parts(target).map_err(|_| StatusCode::BAD_REQUEST)?;
        head.version = Version::HTTP_11;
        Ok(())
    }

    /// Sends a request. The response must begin within the timeout after the last byte of the request.
    async fn send(
        &self,
        head: Parts,
        body: Incoming,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Result<Response<Incoming>, Failure> {
        let progress = Progress::new();
        let clean = headers::clean_trailers;
        let body = StreamedBody::request(body, self.timeout, permit, progress.clone(), clean);
        let is_upload = !body.is_end_stream();
        let response = self.client.request(Request::from_parts(head, body));
        let result = match is_upload {
            false => timeout(self.timeout, response).await.ok(),
            true => tokio::select! {
                result = response => Some(result),
                () = progress.silence(self.timeout) => None,
            },
        };
        match result {
            Some(result) => result.map_err(|error| failure(&error)),
            None if progress.waits_for_sender() => {
                let reason = SilentSender(self.timeout).to_string();
                Err(Failure(StatusCode::REQUEST_TIMEOUT, reason))
            }
            None => {
                let reason = format!("no response within {:?}", self.timeout);
                Err(Failure(StatusCode::GATEWAY_TIMEOUT, reason))
            }
        }
    }

    /// Prepares the upstream server's response for the client. Opens a tunnel if the server accepts the
    /// upgrade.
    fn respond(
        &self,
        mut response: Response<Incoming>,
        upgrade: Option<OnUpgrade>,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Response<ProxyBody> {
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_tunnel {
            let permit = self.tunnels.clone().try_acquire_owned();
            let (Some(client), Ok(permit)) = (upgrade, permit) else {
                // The server switched without a request, or there are too many tunnels.
                return status_page(StatusCode::SERVICE_UNAVAILABLE);
            };
            let server = hyper::upgrade::on(&mut response);
            let tunnel = tunnel::run(client, server, self.tunnel_timeout, permit);
            tokio::spawn(tunnel);
        }
        let (mut head, body) = response.into_parts();
        headers::prepare_response(&mut head.headers, head.version);
        if let Some(sessions) = &self.sessions {
            sessions.strip_set_cookies(&mut head.headers);
        }
        if is_tunnel {
            let upgrade = HeaderValue::from_static("upgrade");
            head.headers.insert(CONNECTION, upgrade);
            let websocket = HeaderValue::from_static("websocket");
            head.headers.insert(UPGRADE, websocket);
        }
        head.version = Version::HTTP_11;
        let keep = headers::keep_trailers;
        let body = StreamedBody::response(body, self.timeout, permit, keep);
        Response::from_parts(head, Either::Left(body))
    }
}

/// Returns the status for a request that failed.
fn failure(error: &Error) -> Failure {
    let source = std::error::Error::source(error);
    let mut sources = std::iter::successors(source, |error| error.source());
    let status = sources.find_map(|source| {
        // The client that sends the request was silent, not the server.
        if source.is::<SilentSender>() {
            return Some(StatusCode::REQUEST_TIMEOUT);
        }
        let error = source.downcast_ref::<io::Error>()?;
        let is_timeout = error.kind() == io::ErrorKind::TimedOut;
        is_timeout.then_some(StatusCode::GATEWAY_TIMEOUT)
    });
    let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
    Failure(status, with_sources(error))
}
