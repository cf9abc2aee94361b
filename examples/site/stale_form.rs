//! Forms with a token of another session. The page was open while its visitor signed in or out in
//! another tab.

use http::{
    HeaderMap, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, COOKIE, HOST, REFERER},
};
use hyper_session::{Session, service::RequestInfo};
use minijinja::context;
use serde_json::json;

use super::{BoxError, Page, Site, page_at, pages};

/// Returns the page of this site that contained the form. Returns `None` without cookies, because that
/// page could then not show a message.
pub(crate) fn referer_page(headers: &HeaderMap) -> Option<&'static str> {
    let referer: Uri = headers.get(REFERER)?.to_str().ok()?.parse().ok()?;
    let is_own = referer.authority()?.as_str() == headers.get(HOST)?;
    let page = page_at(referer.path())?;
    (is_own && headers.contains_key(COOKIE)).then_some(page)
}

/// Returns `true` for the response of `Forms` to a failed CSRF check, unless it is JSON for a script.
pub(crate) fn is_csrf_failure<B>(response: &Response<B>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_text = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    response.status() == StatusCode::FORBIDDEN && is_text
}

impl Site {
    /// Redirects to the form, which then has a new token. If its page is unknown, returns a page with
    /// instructions.
    pub(crate) async fn reload_form(
        &self,
        request: &RequestInfo,
        session: &Session,
        form: Option<&str>,
    ) -> Result<Page, BoxError> {
        session.load().await?;
        let messages = self.languages.select(request);
        if let Some(form) = form {
            let message = messages.text("stale_form.message");
            let notice = json!({ "type": "error", "message": message });
            session.flash("notification", notice)?;
            return Ok(pages::see_other(form));
        }
        let values = context! {
            heading => messages.text("stale_form.heading"),
            text => messages.text("stale_form.text"),
        };
        let mut page = self.page("problem.html", "", session, values)?;
        *page.status_mut() = StatusCode::FORBIDDEN;
        Ok(page)
    }
}
