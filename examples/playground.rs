//! A server to try sessions: a page for people, and `POST /ops` for scripts, which runs the methods in
//! `playground/ops.rs`.
//!
//! `cargo run --release --example playground`, then open <http://127.0.0.1:3000/>.
//!
//! Environment: `ADDR` (default `127.0.0.1:3000`), and the variables of
//! `SessionConfig::with_env`, such as `SESSION_DRIVER` (default `memory`; `file`, `cookie`, or `redis`
//! with `--features redis`), `SESSION_AGE` and `REDIS_URL`. Without `APP_KEY`, the process generates a
//! key for its own lifetime. With Redis, the start waits for the server for up to 10 seconds.
//!
//! `support/serve.rs` adds the limits on time and connections, and `support/log.rs` the level of the log. The
//! server supports HTTP/1, and HTTP/2 with prior knowledge. SIGTERM and Ctrl-C stop it after the running requests have been answered.
//! A session that cannot be loaded or stored is a response with the error as JSON.

#[path = "support/log.rs"]
mod log;
#[path = "playground/ops.rs"]
mod ops;
#[path = "playground/pages.rs"]
mod pages;
#[path = "support/serve.rs"]
mod serve;

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions,
    seal::SealKey,
    service::SessionBody,
    session::{Event, Listener, SessionCollection},
};
use tokio::net::TcpListener;

type Page = Response<Full<Bytes>>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the error and its sources on one line.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let sources = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = sources.map(ToString::to_string).collect();
    texts.join(": ")
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address: SocketAddr = match std::env::var("ADDR") {
        Ok(address) => address
            .parse()
            .map_err(|_| format!("ADDR={address}: not a socket address; use IP:PORT"))?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3000)),
    };
    log::start()?;
    let server = serve::Server::from_env()?;
    let sessions = sessions(address)?;
    sessions.ready().await?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server.serve(listener, service(&sessions)).await;
    println!("stopped");
    Ok(())
}

fn sessions(address: SocketAddr) -> Result<Sessions, Box<dyn Error + Send + Sync>> {
    let mut config = SessionConfig::default()
        .secure_unless_loopback(address.ip())
        .with_env()?;
    if config.app_key.is_none() {
        println!("APP_KEY is not set: using a generated key; sessions are lost at a restart");
        config = config.app_key(SealKey::generate_text()?);
    }
    Ok(Sessions::builder(config)
        .listener(ConsoleListener::default())
        .build()?)
}

/// Prints failures for the operator. An outage of a store is printed when it begins and when it ends.
#[derive(Default)]
struct ConsoleListener {
    /// Store failures since the last successful commit.
    failures: AtomicU64,
}

impl Listener for ConsoleListener {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::StoreUnavailable {
                store,
                server,
                reason,
            } => eprintln!("store {store}: {server} is unavailable: {reason}"),
            Event::StoreRecovered {
                store,
                server,
                lasted,
                failed,
            } => eprintln!(
                "store {store}: {server} is available again after {lasted:?}, {failed} operations failed"
            ),
            Event::StoreFailed { error, .. } if error.is_outage() => {}
            Event::StoreFailed { error, .. } if self.failures.fetch_add(1, Relaxed) == 0 => {
                eprintln!("store failed: {}", with_sources(*error));
            }
            Event::Committed { .. } if self.failures.load(Relaxed) > 0 => {
                let failures = self.failures.swap(0, Relaxed);
                eprintln!("store: available again, {failures} operations failed");
            }
            Event::WriteDropped { key, reason } => eprintln!("write dropped: {key:?}: {reason}"),
            Event::ConfigAdjusted { reason } => eprintln!("configuration adjusted: {reason}"),
            _ => {}
        }
    }
}

/// Returns the service of all paths.
fn service(
    sessions: &Sessions,
) -> impl Service<
    Request<Incoming>,
    Response = Response<SessionBody<Full<Bytes>>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let collection = sessions.collection();
    let with_session = sessions.wrap_fn(move |request, session| {
        let collection = collection.clone();
        async move { Ok::<_, Infallible>(route(request, session, &collection).await) }
    });
    service_fn(move |request: Request<Incoming>| {
        // `/raw` measures the server without sessions.
        let is_raw = request.uri().path() == "/raw";
        let response = (!is_raw).then(|| with_session.call(request));
        async move {
            match response {
                Some(response) => Ok(with_error_text(response.await?)),
                None => Ok(Response::new(SessionBody::from(Full::from("raw")))),
            }
        }
    })
}

/// Writes the text of a session error into the empty response that replaced the page.
fn with_error_text(
    response: Response<SessionBody<Full<Bytes>>>,
) -> Response<SessionBody<Full<Bytes>>> {
    let Some(error) = response.extensions().get::<SessionError>() else {
        return response;
    };
    let text = ops::error_response(response.status(), &with_sources(error));
    let (mut head, _) = response.into_parts();
    let (text_head, body) = text.into_parts();
    head.headers.extend(text_head.headers);
    Response::from_parts(head, SessionBody::from(body))
}

async fn route(
    request: Request<Incoming>,
    session: Session,
    collection: &SessionCollection,
) -> Page {
    let path = request.uri().path().to_owned();
    let page = match (request.method(), path.as_str()) {
        (&Method::GET | &Method::HEAD, "/") => pages::home(&session).await,
        (&Method::GET, _) if path.starts_with("/theme/") => pages::theme(&session, &path).await,
        (&Method::POST, "/visit" | "/login" | "/logout" | "/message") => {
            pages::submit(&session, &path).await
        }
        (&Method::POST, "/ops") => return ops::respond(request, &session, collection).await,
        _ => return pages::text(StatusCode::NOT_FOUND, "not found"),
    };
    page.unwrap_or_else(|error| {
        pages::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("session error: {}", with_sources(&error)),
        )
    })
}
