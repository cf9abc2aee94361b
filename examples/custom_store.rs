//! Sessions in an embedded database: a custom store, selected by its name.
//!
//! `cargo run --example custom_store`, then open <http://127.0.0.1:3001/>. The store is
//! `custom_store/redb_store.rs`. Set `SESSION_DRIVER` to select another one,
//! and `ADDR` to listen elsewhere.

#[path = "custom_store/redb_store.rs"]
mod redb_store;
#[path = "support/serve.rs"]
mod serve;

use std::{error::Error, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions, clock::Clock, config::StoreRegistry,
    seal::SealKey,
};
use redb_store::RedbStore;

async fn hello(
    _: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, SessionError> {
    session.load().await?;
    let visits = session.increment("visits")?;
    Ok(Response::new(Full::from(format!(
        "visit number {visits}\n"
    ))))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = serve::Server::from_env()?;
    let address = match std::env::var("ADDR") {
        Ok(address) => address.parse()?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3001)),
    };
    let mut config = SessionConfig::default()
        .store("redb")
        .secure_unless_loopback(address.ip())
        .with_env()?;
    if config.app_key.is_none() {
        println!("APP_KEY is not set: cookies are valid until this process ends");
        config = config.app_key(SealKey::generate_text()?);
    }
    let file = std::env::temp_dir().join("sessions.redb");
    let stores =
        StoreRegistry::new().register_with("redb", move || RedbStore::open(&file, Clock::system()));
    let service = Sessions::builder(config)
        .stores(stores)
        .build()?
        .wrap_fn(hello);

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server.serve(listener, service).await;
    Ok(())
}
