//! A small site in plain HTML and CSS: forms, flash messages, accounts, devices and a cart.
//!
//! `cargo run --release --example site --features forms,templates`, then open
//! <http://127.0.0.1:3000/>.
//!
//! Environment: `ADDR` (a loopback address; default `127.0.0.1:3000`), and the variables of
//! `SessionConfig::with_env`, such as `SESSION_DRIVER` (`file`, the default of this example, `memory`,
//! `cookie`, or `redis` with `--features redis`), `support/serve.rs` and `support/log.rs`.
//!
//! Sessions and their key are stored in `tmp/`, so a cart survives a restart. Accounts are in memory
//! and are lost. SIGTERM and Ctrl-C stop the server after the running requests have been answered.

#[path = "site/app.rs"]
mod app;
#[path = "site/key.rs"]
mod key;
#[path = "support/log.rs"]
mod log;
#[path = "support/serve.rs"]
mod serve;

use std::{error::Error, net::SocketAddr, process::ExitCode};

use hyper::service::service_fn;
use hyper_session::Sessions;
use tokio::net::TcpListener;

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
    let address = match std::env::var("ADDR") {
        Ok(address) => address
            .parse()
            .map_err(|_| format!("ADDR={address}: not a socket address; use IP:PORT"))?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3000)),
    };
    if !address.ip().is_loopback() {
        return Err(format!(
            "ADDR={address}: not a loopback address; the example site listens on loopback only"
        )
        .into());
    }
    log::start()?;
    let server = serve::Server::from_env()?;
    let sessions = sessions()?;
    sessions.ready().await?;
    let app = app::App::new(sessions)?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service = service_fn(move |request| app.respond(request));
    server.serve(listener, service).await;
    println!("stopped");
    Ok(())
}

fn sessions() -> Result<Sessions, Box<dyn Error + Send + Sync>> {
    let mut config = app::config().store("file").with_env()?;
    if config.app_key.is_none() {
        config = config.app_key(key::load_or_create("tmp/site.key")?);
    }
    Ok(Sessions::builder(config).build()?)
}
