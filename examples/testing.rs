//! A login, and the tests of its handlers.
//!
//! `cargo test --example testing --features forms,testing` runs the tests below.
//! `cargo run --example testing --features forms,testing` starts the server; then open
//! <http://127.0.0.1:3000/login>. `ADDR` sets another address.

#[path = "support/serve.rs"]
mod serve;

use std::{error::Error, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    MemoryStore, Session, SessionConfig, SessionError, Sessions,
    form::{FormBody, Forms, Input, InputLimits, ValidationErrors},
    seal::SealKey,
};

type BoxError = Box<dyn Error + Send + Sync>;
type Page = Response<Full<Bytes>>;

#[derive(serde::Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

async fn app(request: Request<FormBody<Incoming>>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/login") => login_page(&session),
        (&Method::POST, "/login") => login(request, &session).await,
        (&Method::POST, "/logout") => {
            session.destroy()?;
            redirect("/login")
        }
        (&Method::GET, "/") => match session.get::<String>("user.name")? {
            Some(name) => Ok(account_page(&name, &session)?),
            None => redirect("/login"),
        },
        _ => Ok(Response::builder().status(404).body(Full::default())?),
    }
}

fn login_page(session: &Session) -> Result<Page, BoxError> {
    let flashed = session.flash_messages()?;
    let messages: Vec<&str> = flashed.get("errors.email")?.unwrap_or_default();
    page(&format!(
        "<form method=post>{}<p>{}</p><input name=email><input name=password type=password>\
         <button>Sign in</button></form>",
        session.csrf_field()?,
        messages.join(" "),
    ))
}

/// Checks the password. A real service compares with a slow hash, such as Argon2.
async fn login(request: Request<FormBody<Incoming>>, session: &Session) -> Result<Page, BoxError> {
    let input = Input::from_request(request, &InputLimits::default()).await?;
    let credentials: Credentials = input.deserialize()?;
    if (&*credentials.email, &*credentials.password) != ("ada@example.com", "analytical engine") {
        let errors = ValidationErrors::new().with_error("email", "Wrong address or password.");
        return Err(errors.into());
    }
    session.regenerate()?;
    session.put("user.name", "Ada")?;
    session.tag("user-7")?;
    session.flash("notification", "Welcome back.")?;
    redirect("/")
}

fn account_page(name: &str, session: &Session) -> Result<Page, SessionError> {
    let flashed = session.flash_messages()?;
    let notification: &str = flashed.get("notification")?.unwrap_or_default();
    let field = session.csrf_field()?;
    Ok(Response::new(Full::from(format!(
        "<!doctype html><p>{notification}</p><h1>{name}</h1>\
         <form method=post action=/logout>{field}<button>Sign out</button></form>"
    ))))
}

fn page(content: &str) -> Result<Page, BoxError> {
    let html = Response::builder().header("content-type", "text/html; charset=utf-8");
    Ok(html.body(Full::from(format!("<!doctype html>{content}")))?)
}

fn redirect(path: &str) -> Result<Page, BoxError> {
    let redirect = Response::builder().status(303).header("location", path);
    Ok(redirect.body(Full::default())?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = serve::Server::from_env()?;
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let address: SocketAddr = address.parse()?;
    let mut config = SessionConfig::default()
        .secure_unless_loopback(address.ip())
        .with_env()?;
    if config.app_key.is_none() {
        config = config.app_key(SealKey::generate_text()?);
    }
    let sessions = Sessions::new(config, MemoryStore::new())?;
    let service = sessions.wrap_fn(Forms::new().csrf_protection().wrap_fn(app));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server.serve(listener, service).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::service::Service;
    use hyper_session::testing::{StoreCall, TestClient, TestRequest, TestSessions};

    use super::*;

    /// Returns a client of the service. A macro, since the service's type has no name.
    macro_rules! client {
        ($test:expr) => {{
            let sessions = $test.sessions();
            let forms = Forms::new().csrf_protection();
            TestClient::new(sessions, sessions.wrap_fn(forms.wrap_fn(app)))
        }};
    }

    /// Returns the login with this password, as the form sends it.
    async fn login_form<'c, S>(client: &'c TestClient<S>, password: &str) -> TestRequest<'c, S>
    where
        S: Service<Request<Incoming>>,
    {
        let token = client.with_session(Session::csrf_token).await;
        let email = "ada@example.com";
        let fields = [("email", email), ("password", password), ("_csrf", &token)];
        client.post("/login").form(fields)
    }

    #[tokio::test]
    async fn a_user_signs_in_with_a_new_id() {
        let test = TestSessions::new();
        let client = client!(test);
        client.get("/login").send().await.assert_status(200);
        let before = client.cookie("session");

        let form = login_form(&client, "analytical engine").await;
        let response = form.send().await;
        response
            .assert_redirect("/")
            .assert_session("user.name", "Ada")
            .assert_tag("user-7")
            .assert_flash("notification", "Welcome back.");
        assert_ne!(client.cookie("session"), before);

        let page = client.follow(&response).send().await;
        assert!(page.text().contains("Welcome back."));
        page.assert_flash_missing("notification");
    }

    #[tokio::test]
    async fn a_wrong_password_leads_back_to_the_form() {
        let test = TestSessions::new();
        let client = client!(test);
        client.get("/login").send().await;
        let response = login_form(&client, "a guess").await.send().await;
        response
            .assert_redirect("/login")
            .assert_validation_error("email", "Wrong address or password.")
            .assert_validation_error_missing("password")
            .assert_session_missing("user");
        let page = client.follow(&response).send().await;
        assert!(page.text().contains("Wrong address or password."));
    }

    #[tokio::test]
    async fn a_form_of_another_site_is_rejected() {
        let test = TestSessions::new();
        let client = client!(test);
        let form = login_form(&client, "analytical engine").await;
        let foreign = form.header("sec-fetch-site", "cross-site");
        foreign.send().await.assert_status(403);
    }

    #[tokio::test]
    async fn a_user_signs_out_and_an_idle_one_is_signed_out() {
        let test = TestSessions::new();
        let client = client!(test);
        let sign_in = |session: &Session| {
            session.put("user.name", "Ada")?;
            session.csrf_token()
        };
        let token = client.with_session(sign_in).await;
        client.get("/").send().await.assert_status(200);
        let response = client.post("/logout").form([("_csrf", token)]).send().await;
        response.assert_redirect("/login").assert_no_session();

        client.with_session(sign_in).await;
        test.advance(Duration::from_secs(3 * 60 * 60)); // `age` is 2 hours
        client.get("/").send().await.assert_redirect("/login");
    }

    #[tokio::test]
    async fn no_user_is_signed_in_while_the_store_is_away() {
        let test = TestSessions::new();
        let client = client!(test);
        let form = login_form(&client, "analytical engine").await;
        test.store().fail_always(StoreCall::Write);
        form.send()
            .await
            .assert_status(503)
            .assert_session_missing("user");
    }
}
