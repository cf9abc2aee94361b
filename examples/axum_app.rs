//! A service with axum: login, flash messages, typed data, a WebSocket, and server-sent events.
//!
//! `cargo run --example axum_app --features axum,forms`, then open <http://127.0.0.1:3002/>.
//!
//! Environment: `ADDR` (default `127.0.0.1:3002`), the variables of `SessionConfig::with_env`,
//! `support/serve.rs` and `support/log.rs`. Without `APP_KEY`, the process generates a key for its own lifetime.

#[path = "axum_app/app.rs"]
mod app;
#[path = "support/log.rs"]
mod log;
#[path = "support/serve.rs"]
mod serve;

use std::{error::Error, net::SocketAddr};

use hyper_session::{SessionConfig, Sessions, seal::SealKey};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address: SocketAddr = match std::env::var("ADDR") {
        Ok(address) => address
            .parse()
            .map_err(|_| format!("ADDR={address}: not a socket address; use IP:PORT"))?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3002)),
    };
    log::start()?;
    let server = serve::Server::from_env()?;
    let mut config = SessionConfig::default()
        .secure_unless_loopback(address.ip())
        .with_env()?;
    if config.app_key.is_none() {
        config = config.app_key(SealKey::generate_text()?);
    }
    let sessions = Sessions::builder(config).build()?;
    sessions.ready().await?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let origin = format!("http://{}", listener.local_addr()?);
    let service = TowerToHyperService::new(app::router(&sessions, &origin, server.stop())?);
    server.serve(listener, service).await;
    println!("stopped");
    Ok(())
}
