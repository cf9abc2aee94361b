//! A service with logs and metrics: a page that counts visits, and `/metrics` for Prometheus on an address of
//! its own.
//!
//! `cargo run --release --example observability --features metrics,tracing`
//!
//! Environment: `ADDR` (default `127.0.0.1:3000`), `METRICS_ADDR` (default `127.0.0.1:9000`; not for the
//! public), and the variables of `SessionConfig::with_env`, `support/serve.rs` and `support/log.rs`.
//!
//! `observability/dashboard.json` is a dashboard for Grafana, and `observability/alerts.yml` has the alerts of the
//! guide for Prometheus.

#[path = "support/log.rs"]
mod log;
#[path = "support/serve.rs"]
mod serve;

use std::{convert::Infallible, error::Error, net::SocketAddr, process::ExitCode};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_session::{Session, SessionConfig, SessionError, Sessions, seal::SealKey};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

type BoxError = Box<dyn Error + Send + Sync>;

/// The buckets of the histograms, in seconds: from a load from memory to a commit that times out.
const BUCKETS: [f64; 11] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    log::start()?;
    let server = serve::Server::from_env()?;
    let metrics = install_recorder()?;
    let site = listen("ADDR", "127.0.0.1:3000").await?;
    let sessions = sessions(site.local_addr()?)?;
    sessions.ready().await?;
    let scrapes = listen("METRICS_ADDR", "127.0.0.1:9000").await?;
    println!("metrics on http://{}/metrics", scrapes.local_addr()?);
    println!("listening on http://{}", site.local_addr()?);
    let scraped = sessions.clone();
    let scrape = service_fn(move |request: Request<Incoming>| {
        let response = scrape(&request, &scraped, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    tokio::join!(
        server.clone().serve(site, sessions.wrap_fn(visit)),
        server.serve(scrapes, scrape),
    );
    sessions.close().await?;
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

async fn listen(name: &str, default: &str) -> Result<TcpListener, BoxError> {
    let address = variable(name, default);
    let parsed = address.parse::<SocketAddr>();
    let parsed =
        parsed.map_err(|_| format!("{name}={address}: not a socket address; use IP:PORT"))?;
    Ok(TcpListener::bind(parsed).await?)
}

/// Installs the recorder before the sessions exist, so that it misses nothing.
fn install_recorder() -> Result<PrometheusHandle, BoxError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    Sessions::describe_metrics();
    Ok(handle)
}

fn sessions(address: SocketAddr) -> Result<Sessions, BoxError> {
    let mut config = SessionConfig::default()
        .secure_unless_loopback(address.ip())
        .with_env()?;
    if config.app_key.is_none() {
        println!("APP_KEY is not set: using a generated key; sessions are lost at a restart");
        config = config.app_key(SealKey::generate_text()?);
    }
    // Logs and metrics need no listener.
    Ok(Sessions::builder(config).build()?)
}

async fn visit(
    _: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, SessionError> {
    session.load().await?;
    let visits = session.increment("visits")?;
    Ok(Response::new(Full::from(format!(
        "visit number {visits}\n"
    ))))
}

/// Responds to a scrape of Prometheus.
fn scrape(
    request: &Request<Incoming>,
    sessions: &Sessions,
    metrics: &PrometheusHandle,
) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        let mut response = Response::new(Full::from("not found"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    sessions.record_metrics();
    metrics.run_upkeep();
    let mut response = Response::new(Full::from(metrics.render()));
    let text = http::HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
