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

/// The style of the page. Each color has a light and a dark value.
const STYLE: &str = include_str!("style.css");

/// The themes that the page offers.
const THEMES: [&str; 4] = ["auto", "light", "dark", "sepia"];

/// Shows the session, its flash messages and some forms.
pub(crate) async fn home(session: &Session) -> Result<Page, SessionError> {
    session.load().await?;
    let theme: String = session.get_or("theme", "auto".to_owned())?;
    let user: Option<String> = session.get("user.name")?;
    let messages = session.flash_messages()?;
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=en data-theme=\"{}\"><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>Session playground</title><style>{STYLE}</style></head>\
         <body><main><h1>Session playground</h1>",
        escape(&theme)
    );
    let _ = match user {
        Some(name) => write!(page, "<p>You are signed in as {}.</p>", escape(&name)),
        None => write!(page, "<p>You are not signed in.</p>"),
    };
    if let Some(text) = messages.get::<&str>("notification")? {
        let _ = write!(page, "<p class=notice role=status>{}</p>", escape(text));
    }
    for (heading, json) in [
        ("Data", session.snapshot()?.as_json()?),
        ("Flash messages", messages.as_json()?),
    ] {
        let _ = write!(
            page,
            "<h2>{heading}</h2><pre tabindex=0>{}</pre>",
            escape(json)
        );
    }
    write_controls(&mut page, &theme);
    page.push_str("</main></body></html>");
    Ok(html(page))
}

/// Writes the forms and links that change the session.
fn write_controls(page: &mut String, theme: &str) {
    page.push_str("<h2>Change the session</h2><div class=actions>");
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
    page.push_str("</div><nav aria-label=Themes>Theme");
    for name in THEMES {
        let current = if name == theme {
            " aria-current=true"
        } else {
            ""
        };
        let _ = write!(page, " <a href=/theme/{name}{current}>{name}</a>");
    }
    page.push_str(
        "</nav><p>Scripts send operations as JSON to <code>POST /ops</code>, such as \
         <code>[{\"op\":\"increment\",\"key\":\"visits\"}]</code>.</p>",
    );
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
