//! Pages out of templates, and the other things that the site says.

use std::error::Error;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use hyper_session::{Session, view};
use minijinja::{Environment, Value, context};

use super::{BoxError, Page, Parts, THEMES};

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const TEMPLATES: [(&str, &str); 10] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("home.html", include_str!("templates/home.html")),
    ("contact.html", include_str!("templates/contact.html")),
    ("sign-up.html", include_str!("templates/sign-up.html")),
    ("sign-in.html", include_str!("templates/sign-in.html")),
    ("devices.html", include_str!("templates/devices.html")),
    ("cart.html", include_str!("templates/cart.html")),
    ("cart-lines.html", include_str!("templates/cart-lines.html")),
    ("problem.html", include_str!("templates/problem.html")),
];

pub(crate) fn templates() -> Result<Environment<'static>, minijinja::Error> {
    let mut pages = Environment::new();
    view::enable_autoescape(&mut pages);
    for (name, source) in TEMPLATES {
        pages.add_template(name, source)?;
    }
    Ok(pages)
}

impl Parts {
    /// A page after a template, with the session's values and some of its own. `here` is its path.
    pub(crate) fn page(
        &self,
        template: &str,
        here: &str,
        session: &Session,
        values: Value,
    ) -> Result<Page, BoxError> {
        let of_all = context! {
            here,
            themes => THEMES,
            user => self.user(session)?.map(|user| context! { name => user.name, email => user.email }),
        };
        let values = context! { ..values, ..of_all, ..view::context(session)? };
        let text = self.pages.get_template(template)?.render(values)?;
        Ok(html(StatusCode::OK, text))
    }

    pub(crate) fn nothing_here(&self, session: &Session) -> Result<Page, BoxError> {
        let values =
            context! { heading => "There is nothing here", text => "The address leads nowhere." };
        let mut page = self.page("problem.html", "", session, values)?;
        *page.status_mut() = StatusCode::NOT_FOUND;
        Ok(page)
    }
}

/// What is left to say when a page could not be made. The reason is for the operator.
pub(crate) fn broken(error: &(dyn Error + 'static)) -> Page {
    eprintln!("a page failed: {error}");
    let text = "<!doctype html><title>Sorry</title><p>Something went wrong here. Please try again.";
    html(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
}

/// Sends the browser on to a page of ours, after a form or instead of the one it asked for.
pub(crate) fn go_to(path: &str) -> Page {
    let mut response = html(StatusCode::SEE_OTHER, String::new());
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, path);
    response
}

/// A JSON answer.
pub(crate) fn json(value: &serde_json::Value) -> Page {
    let mut response = html(StatusCode::OK, value.to_string());
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn html(status: StatusCode, text: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    protect(&mut response);
    response
}

/// The headers by which a browser keeps to what the site is made of.
pub(crate) fn protect<B>(response: &mut Response<B>) {
    let policies: [(HeaderName, &str); 3] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in policies {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
}
