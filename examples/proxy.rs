//! A reverse proxy with a sign-in gate. It forwards requests to one upstream server, with the user of the
//! session in a header.
//!
//! `UPSTREAM=http://127.0.0.1:8080 USERS=users.txt cargo run --release --example proxy --features forms`
//!
//! Environment, beside the variables of `SessionConfig::with_env`, `support/serve.rs` and `support/log.rs`:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `ADDR` | the address to listen on; default `127.0.0.1:3000` |
//! | `UPSTREAM` | the upstream server, `http://HOST:PORT` |
//! | `USERS` | a file with a line `name:hash` for each user; the hash is Argon2 in the PHC format, which `argon2 SALT -id -e` prints |
//! | `PUBLIC_PATHS` | prefixes of the paths that need no sign-in, separated by commas; default `/public/` |
//! | `TRUSTED_PROXIES` | addresses of proxies in front of this one, separated by commas; their `Forwarded` and `X-Forwarded` headers are kept |
//! | `CONNECT_TIMEOUT` | the seconds for a connection to the upstream server; default 5 |
//! | `UPSTREAM_TIMEOUT` | the seconds that the upstream server, or a client that sends a body, may be silent, and that the server may accept no byte; default 30 |
//! | `TUNNEL_TIMEOUT` | the seconds that a WebSocket may be silent; default 300 |
//! | `UPSTREAM_REQUESTS`, `TUNNELS` | the maximum number of open requests and WebSockets; default 1000 each |
//! | `SESSIONS` | `off` forwards all requests without sessions, to measure their cost |
//!
//! The upstream server gets the user in the header `X-User`, and never gets the session's cookies. It must
//! accept connections from this proxy only.

#[path = "proxy/body.rs"]
mod body;
#[path = "proxy/connector.rs"]
mod connector;
#[path = "proxy/forward.rs"]
mod forward;
#[path = "proxy/gate.rs"]
mod gate;
#[path = "proxy/headers.rs"]
mod headers;
#[path = "support/log.rs"]
mod log;
#[path = "proxy/pages.rs"]
mod pages;
#[path = "support/serve.rs"]
mod serve;
#[path = "proxy/settings.rs"]
mod settings;
#[path = "proxy/tunnel.rs"]
mod tunnel;
#[path = "proxy/users.rs"]
mod users;

use std::{convert::Infallible, error::Error, pin::Pin, process::ExitCode, sync::Arc};

use http::Response;
use hyper::service::service_fn;
use hyper_session::{CookiePolicy, SessionConfig, Sessions, seal::SealKey};
use tokio::net::TcpListener;

use forward::Upstream;
use gate::Gate;
use pages::ProxyBody;
use settings::Settings;

type BoxError = Box<dyn Error + Send + Sync>;

/// The future of a response. Boxed, because it is large, and every layer moves it.
type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<ProxyBody>, Infallible>> + Send>>;

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

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    log::start()?;
    let server = serve::Server::from_env()?;
    let sessions = match settings.sessions {
        true => Some(sessions(&settings)?),
        false => None,
    };
    let upstream = Arc::new(Upstream::new(&settings, sessions.clone()));
    if let Some(sessions) = &sessions {
        sessions.ready().await?;
    }
    let listener = TcpListener::bind(settings.address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    match &sessions {
        None => {
            let service = |client: std::net::SocketAddr| {
                let upstream = upstream.clone();
                service_fn(move |request| upstream.clone().forward_public(request, client.ip()))
            };
            server.serve_each(listener, service).await;
        }
        Some(sessions) => {
            let gate = Arc::new(Gate::new(&settings, upstream)?);
            let service = |client: std::net::SocketAddr| {
                let gate = gate.clone();
                sessions.wrap_fn(move |request, session| {
                    gate.clone().respond(request, session, client.ip())
                })
            };
            server.serve_each(listener, service).await;
            sessions.close().await?;
        }
    }
    println!("stopped");
    Ok(())
}

/// Returns the sessions. Public responses stay cacheable, because they set no cookie.
fn sessions(settings: &Settings) -> Result<Sessions, BoxError> {
    let mut config = SessionConfig::default()
        .secure_unless_loopback(settings.address.ip())
        .cookie_policy(CookiePolicy::WhenUsed)
        .with_env()?;
    if config.app_key.is_none() {
        println!("APP_KEY is not set: using a generated key; sessions are lost at a restart");
        config = config.app_key(SealKey::generate_text()?);
    }
    Ok(Sessions::builder(config).build()?)
}
