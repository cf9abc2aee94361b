//! A small site: forms, flash messages, signing in, devices, a cart. Plain HTML and CSS.
//!
//! `cargo run --release --example site --features forms,templates`, then open
//! <http://127.0.0.1:3000/>.
//!
//! Environment: `ADDR` (a loopback address; default `127.0.0.1:3000`), and the variables of
//! `SessionConfig::with_env`: `SESSION_DRIVER` (`file`, the default here, `memory`, `cookie`, or with
//! `--features redis` `redis`) and so on.
//! Sessions and the key that seals them are kept in `tmp/`, so a cart outlives a restart; accounts
//! are kept in memory and do not. SIGTERM and Ctrl-C stop it once the requests that are running have
//! been answered.

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
            .map_err(|_| format!("ADDR={address} is not ADDRESS:PORT"))?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3000)),
    };
    if !address.ip().is_loopback() {
        return Err("the site is an example: it listens on a loopback address only".into());
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
    // Not every browser sends Secure cookies to a loopback address over plain HTTP.
    let mut config = SessionConfig::default()
        .secure(false)
        .store("file")
        .with_env()?;
    if config.app_key.is_none() {
        config = config.app_key(key::kept_in("tmp/site.key")?);
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
                // Out of file descriptors, most likely: let some connections end.
                Err(_) => { tokio::time::sleep(Duration::from_millis(50)).await; continue }
            },
            () = &mut stop => break,
        };
        let app = app.clone();
        let service = service_fn(move |request| app.answer(request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // What goes wrong on a connection is its client's affair.
            let _ = connection.await;
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => eprintln!("gave up waiting for requests"),
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
