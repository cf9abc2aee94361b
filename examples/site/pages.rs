//! Responses: pages from templates, redirects, JSON and errors.

use std::error::Error;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use hyper_session::{
    Session,
    service::{ErrorPages, Redirect, RequestFailure},
    view,
};
use minijinja::{Environment, Value, context};

use super::{BoxError, Page, Site, THEMES, languages::Languages};

/// No content of other origins, nothing inline, no frames.
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

impl Site {
    /// Renders a template with `values` and the session's values. `path` is the path of the page.
    pub(crate) fn page(
        &self,
        template: &str,
        path: &str,
        session: &Session,
        values: Value,
    ) -> Result<Page, BoxError> {
        let common = context! {
            path,
            themes => THEMES,
            user => self.user(session)?.map(|user| context! { name => user.name, email => user.email }),
        };
        let values = context! { ..values, ..common, ..view::context(session)? };
        let text = self.templates.get_template(template)?.render(values)?;
        Ok(html(StatusCode::OK, text))
    }

    pub(crate) fn not_found(&self, session: &Session) -> Result<Page, BoxError> {
        let values =
            context! { heading => "Page not found", text => "There is no page at this address." };
        let mut page = self.page("problem.html", "", session, values)?;
        *page.status_mut() = StatusCode::NOT_FOUND;
        Ok(page)
    }
}

/// Returns a 500 page and prints the error for the operator.
pub(crate) fn server_error(error: &(dyn Error + 'static)) -> Page {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    eprintln!("page error: {}", texts.join(": "));
    let text = "<!doctype html><title>Error</title><p>An error occurred. Please try again.";
    html(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
}

/// Redirects to a page of this site.
pub(crate) fn see_other(path: &str) -> Page {
    redirect(Redirect::to(path))
}

pub(crate) fn redirect(redirect: Redirect) -> Page {
    let mut response = redirect.into_response();
    add_security_headers(&mut response);
    response
}

/// Returns the hook that renders the error responses of sessions and forms.
pub(crate) fn error_pages(languages: Languages) -> ErrorPages {
    ErrorPages::new(move |failure: &RequestFailure<'_>| {
        eprintln!("{}: {}", failure.status(), failure.reason());
        let message = failure.message(languages.select(failure.request()));
        let mut page = match failure.request().wants_json() {
            true => Response::builder()
                .header(CONTENT_TYPE, "application/json")
                .body(serde_json::json!({ "message": message }).to_string()),
            false => Response::builder().body(format!(
                "<!doctype html><title>Teahouse</title><p>{message}<p><a href=\"/\">Teahouse</a>"
            )),
        }
        .ok()?;
        add_security_headers(&mut page);
        Some(page)
    })
}

/// Returns a JSON response.
pub(crate) fn json(value: &serde_json::Value) -> Page {
    let mut response = html(StatusCode::OK, value.to_string());
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn html(status: StatusCode, text: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    add_security_headers(&mut response);
    response
}

/// Adds headers that restrict the content which a browser loads.
pub(crate) fn add_security_headers<B>(response: &mut Response<B>) {
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
