//! A form page with askama: old input, validation errors and a CSRF field without the module `view`.
//!
//! `cargo run --example askama_page`, then open <http://127.0.0.1:3000/>. `ADDR` sets another address.

#[path = "support/serve.rs"]
mod serve;

use std::{error::Error, net::SocketAddr};

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions, id::SessionId, session::Snapshot,
    store::MemoryStore,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// askama escapes templates with the extension `html`. The CSRF field is already HTML.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en" data-theme="{{ theme }}">
<title>A post</title>
{% if let Some(text) = form.notification %}<p role="status">{{ text }}</p>{% endif %}
<form method="post">
  {{ form.csrf_field|safe }}
  <label>Title <input name="title" value="{{ form.old("title") }}"></label>
  {% for message in form.errors("title") %}<p>{{ message }}</p>{% endfor %}
  <button>Save</button>
</form>
"#
)]
struct PostPage {
    theme: String,
    form: Form,
}

/// The session's values that a page with a form needs.
struct Form {
    flash: Snapshot,
    notification: Option<String>,
    csrf_field: String,
}

impl Form {
    fn new(session: &Session) -> Result<Self, SessionError> {
        let flash = session.flash_messages()?;
        Ok(Self {
            notification: flash.get("notification")?,
            csrf_field: session.csrf_field()?,
            flash,
        })
    }

    /// Returns the previous input of a field; empty if it is not text.
    fn old(&self, field: &str) -> String {
        self.flash.get(field).ok().flatten().unwrap_or_default()
    }

    /// Returns the messages of a field.
    fn errors(&self, field: &str) -> Vec<String> {
        let messages = self.flash.get(["inputErrorsBag", field]);
        messages.ok().flatten().unwrap_or_default()
    }
}

/// Shows the form, and handles its submission.
pub(crate) async fn answer(
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, BoxError> {
    session.load().await?;
    if request.method() == Method::POST {
        return save(request, &session).await;
    }
    let page = PostPage {
        theme: session.get_or("theme", "light".to_owned())?,
        form: Form::new(&session)?,
    };
    let mut response = Response::new(Full::from(page.render()?));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    Ok(response)
}

/// Validates without the feature `forms`, to show the keys of the flash messages.
async fn save(
    request: Request<Incoming>,
    session: &Session,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let body = Limited::new(request.into_body(), 10_000).collect().await?;
    let body = body.to_bytes();
    let field = |name: &str| {
        let mut fields = url::form_urlencoded::parse(&body);
        fields.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    if !session.verify_csrf_token(&field("_csrf").unwrap_or_default()) {
        let mut forbidden =
            Response::new(Full::from("The form has expired. Please send it again."));
        *forbidden.status_mut() = StatusCode::FORBIDDEN;
        return Ok(forbidden);
    }
    let title = field("title").unwrap_or_default();
    if title.trim().is_empty() || title.len() > 20 {
        session.flash("title", title)?;
        let messages = ["The title must have 1 to 20 characters."];
        session.flash(["inputErrorsBag", "title"], messages)?;
    } else {
        session.flash("notification", format!("“{title}” has been saved."))?;
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let home = HeaderValue::from_static("/");
    response.headers_mut().insert(header::LOCATION, home);
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = serve::Server::from_env()?;
    let key = format!("{}{}", SessionId::generate()?, SessionId::generate()?);
    let config = SessionConfig::default().secure(false).app_key(key);
    let service = Sessions::new(config, MemoryStore::new())?.wrap_fn(answer);
    let address = match std::env::var("ADDR") {
        Ok(address) => address.parse()?,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 3000)),
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server.serve(listener, service).await;
    Ok(())
}
