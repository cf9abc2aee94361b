//! A small site in plain HTML and CSS: forms, flash messages, accounts, devices and a cart.
//!
//! `cargo run --release --example site --features forms,templates`, then open
//! <http://127.0.0.1:3000/>.
//!
//! Environment: `ADDR` (a loopback address; default `127.0.0.1:3000`), and the variables of
//! `SessionConfig::with_env`, such as `SESSION_DRIVER` (`file`, the default of this example, `memory`,
//! `cookie`, or `redis` with `--features redis`).
//!
//! Sessions and their key are stored in `tmp/`, so a cart survives a restart. Accounts are in memory
//! and are lost. SIGTERM and Ctrl-C stop the server after the running requests have been answered.

#[path = "site/app.rs"]
mod app;
#[path = "site/key.rs"]
mod key;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use hyper::service::service_fn;
use hyper_session::{SessionConfig, Sessions};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
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
    let sessions = sessions()?;
    sessions.ready().await?;
    let app = app::App::new(sessions)?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app).await;
    println!("stopped");
    Ok(())
}

fn sessions() -> Result<Sessions, Box<dyn Error + Send + Sync>> {
    // Some browsers do not send Secure cookies to a loopback address over plain HTTP.
    let mut config = SessionConfig::default()
        .secure(false)
        .store("file")
        .with_env()?;
    if config.app_key.is_none() {
        config = config.app_key(key::load_or_create("tmp/site.key")?);
    }
    Ok(Sessions::builder(config).build()?)
}

async fn serve(listener: TcpListener, app: app::App) {
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop_signal());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Probably out of file descriptors. Wait until some connections close.
                Err(_) => { tokio::time::sleep(Duration::from_millis(50)).await; continue }
            },
            () = &mut stop => break,
        };
        let app = app.clone();
        let service = service_fn(move |request| app.respond(request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection fails if its client disconnects or breaks the protocol.
            let _ = connection.await;
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => eprintln!("shutdown: some requests did not finish within 10 seconds"),
    }
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
