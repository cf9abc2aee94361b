//! The HTML pages of the playground.

use std::fmt::Write;

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use http_body_util::Full;
use hyper_session::{Session, SessionError};

use super::Page;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}\
    form{display:inline}button{font:inherit;padding:.3rem .8rem;margin:0 .4rem .4rem 0}\
    pre{background:#8881;padding:1rem;overflow:auto}.flash{border-left:4px solid #2a7;padding:.2rem 1rem}";

/// Shows the session, its flash messages and some forms.
pub(crate) async fn home(session: &Session) -> Result<Page, SessionError> {
    session.load().await?;
    let theme: String = session.get_or("theme", "plain".to_owned())?;
    let user: Option<String> = session.get("user.name")?;
    let messages = session.flash_messages()?;
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><meta charset=utf-8><title>Session playground</title><style>{STYLE}</style>"
    );
    let _ = write!(
        page,
        "<h1>Session playground</h1><p>The theme is {}",
        escape(&theme)
    );
    let _ = match user {
        Some(name) => write!(page, ". You are signed in as {}.</p>", escape(&name)),
        None => write!(page, ". You are not signed in.</p>"),
    };
    if let Some(text) = messages.get::<&str>("notification")? {
        let _ = write!(page, "<p class=flash>{}</p>", escape(text));
    }
    let data = session.snapshot()?;
    let _ = write!(page, "<h2>Data</h2><pre>{}</pre>", escape(data.as_json()?));
    let _ = write!(
        page,
        "<h2>Flash messages</h2><pre>{}</pre>",
        escape(messages.as_json()?)
    );
    page.push_str("<h2>Change the session</h2>");
    for color in ["dark", "light", "sepia"] {
        let _ = write!(page, "<a href=/theme/{color}>{color}</a> ");
    }
    page.push_str("<p>");
    for (path, label) in [
        ("/visit", "Count a visit"),
        ("/message", "Flash a message"),
        ("/login", "Sign in (new id)"),
        ("/logout", "Sign out"),
    ] {
        let _ = write!(
            page,
            "<form method=post action={path}><button>{label}</button></form>"
        );
    }
    Ok(html(page))
}

/// Handles `/theme/{color}`, the first example of the guide.
pub(crate) async fn theme(session: &Session, path: &str) -> Result<Page, SessionError> {
    session.load().await?;
    session.put("theme", path.trim_start_matches("/theme/"))?;
    Ok(redirect_home())
}

/// Handles the forms of the home page.
pub(crate) async fn submit(session: &Session, path: &str) -> Result<Page, SessionError> {
    session.load().await?;
    match path {
        "/visit" => drop(session.increment("visits")?),
        "/login" => {
            session.regenerate()?;
            session.put("user.name", "ada")?;
            session.tag("ada")?;
            session.flash(
                "notification",
                "You are signed in. The session has a new id.",
            )?;
        }
        "/logout" => {
            session.destroy()?;
            session.flash("notification", "You are signed out.")?;
        }
        _ => session.flash("notification", "This message is shown once.")?,
    }
    Ok(redirect_home())
}

/// Returns a plain text response.
pub(crate) fn text(status: StatusCode, text: &str) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}

fn html(page: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(page)));
    let html = http::HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn redirect_home() -> Page {
    let mut response = text(StatusCode::SEE_OTHER, "");
    response
        .headers_mut()
        .insert(LOCATION, http::HeaderValue::from_static("/"));
    response
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}
