//! Sessions outside of requests: a job that changes them, and an administration API that lists and ends them.
//!
//! `cargo run --example admin` prints the token of the API as `ADMIN_TOKEN`. Then:
//!
//! ```sh
//! curl -c jar -b jar -X POST http://127.0.0.1:3003/sign-in/ada
//! curl -c jar -b jar -X POST http://127.0.0.1:3003/cart/250
//! curl -c jar -b jar -X DELETE http://127.0.0.1:3003/cart/last
//! curl -b jar http://127.0.0.1:3003/
//! curl -H "Authorization: Bearer $ADMIN_TOKEN" http://127.0.0.1:3003/admin/sessions
//! curl -H "Authorization: Bearer $ADMIN_TOKEN" -X DELETE http://127.0.0.1:3003/admin/users/ada
//! ```
//!
//! Environment: `ADDR` (default `127.0.0.1:3003`), `ADMIN_TOKEN` (default: a random one), `JOB_INTERVAL` in
//! milliseconds (default 1000), and the variables of `SessionConfig::with_env`, `support/serve.rs` and
//! `support/log.rs`.

#[path = "admin/api.rs"]
mod api;
#[path = "admin/cart.rs"]
mod cart;
#[path = "support/log.rs"]
mod log;
#[path = "support/serve.rs"]
mod serve;

use std::{convert::Infallible, error::Error, net::SocketAddr, time::Duration};

use api::Admin;
use bytes::Bytes;
use cart::{CART, Cart};
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions, id::SessionId, seal::SealKey,
    service::SessionBody,
};
use serde_json::{Value, json};

type Page = Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = match std::env::var("ADDR") {
        Ok(address) => address.parse()?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3003)),
    };
    let interval = Duration::from_millis(serve::variable("JOB_INTERVAL", 1000_u64)?);
    log::start()?;
    let server = serve::Server::from_env()?;
    let token = match std::env::var("ADMIN_TOKEN") {
        Ok(token) if token.len() < 16 => {
            return Err("ADMIN_TOKEN: shorter than 16 bytes; set a random text".into());
        }
        Ok(token) => token,
        Err(_) => {
            let token = SessionId::generate()?.to_string();
            println!("ADMIN_TOKEN={token}");
            token
        }
    };
    let mut config = SessionConfig::default()
        .secure_unless_loopback(address.ip())
        .with_env()?;
    if config.app_key.is_none() {
        println!("APP_KEY is not set: using a generated key; sessions are lost at a restart");
        config = config.app_key(SealKey::generate_text()?);
    }
    let sessions = Sessions::builder(config).build()?;
    sessions.ready().await?;
    // Fails now, not in each round of the job, if the store cannot list its sessions.
    drop(sessions.collection().scan(&[])?);
    let job = tokio::spawn(cart::run_job(sessions.collection(), interval));
    let admin = Admin::new(sessions.collection(), &token);
    let visitors = sessions.wrap_fn(|request, session| async move {
        let page = respond_to_visitor(&request, &session).await;
        Ok::<_, Infallible>(page.unwrap_or_else(|error| failure(&error)))
    });
    // The API needs no session, so it is outside of the session service.
    let service = service_fn(move |request: Request<Incoming>| {
        let (admin, visitors) = (admin.clone(), visitors.clone());
        async move {
            if request.uri().path().starts_with("/admin/") {
                let page = admin.respond(&request).await;
                let page = page.unwrap_or_else(|error| failure(&error));
                return Ok(page.map(SessionBody::from));
            }
            visitors.call(request).await
        }
    });

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server.serve(listener, service).await;
    job.abort();
    sessions.close().await?;
    Ok(())
}

async fn respond_to_visitor(
    request: &Request<Incoming>,
    session: &Session,
) -> Result<Page, SessionError> {
    session.load().await?;
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    match (request.method().as_str(), &path[..]) {
        ("GET", [""]) => {}
        ("POST", ["sign-in", name]) if is_user_name(name) => sign_in(session, name)?,
        ("POST", ["cart", price]) => match price.parse::<u32>() {
            Ok(price) => session.push("cart.prices", price)?,
            Err(_) => return Ok(not_found()),
        },
        // Runs again on a newer cart, if the job or another request has changed it meanwhile.
        ("DELETE", ["cart", "last"]) => drop(session.update(CART, Cart::remove_last)?),
        _ => return Ok(not_found()),
    }
    let name: Option<String> = session.get("user.name")?;
    let page = json!({ "name": name, "cart": session.get_or(CART, Cart::default())? });
    Ok(respond(StatusCode::OK, &page))
}

/// Signs in every visitor with a name, without a password. The session gets a new id, because the visitor's
/// rights change.
fn sign_in(session: &Session, name: &str) -> Result<(), SessionError> {
    let previous: Option<String> = session.get("user.name")?;
    if previous.is_some_and(|previous| previous != name) {
        // Another user was signed in. This user must not get that user's cart.
        session.destroy()?;
    } else {
        session.regenerate()?;
    }
    session.put("user.name", name)?;
    session.tag(&user_tag(name))
}

/// Returns the tag of a user's sessions.
fn user_tag(name: &str) -> String {
    format!("user-{name}")
}

fn is_user_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn not_found() -> Page {
    respond(StatusCode::NOT_FOUND, &json!({ "error": "not found" }))
}

fn failure(error: &SessionError) -> Page {
    eprintln!("request failed: {error}");
    respond(
        error.status(),
        &json!({ "error": "the session is not available" }),
    )
}

fn respond(status: StatusCode, value: &Value) -> Page {
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
