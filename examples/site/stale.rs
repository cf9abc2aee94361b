//! A form whose token is not one of this session, as that of a page which stood open while its visitor
//! signed in or out in another tab.

use http::{
    HeaderMap, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, COOKIE, HOST, REFERER},
};
use hyper_session::Session;
use minijinja::context;
use serde_json::json;

use super::{BoxError, Page, Parts, page_at, pages};

/// The page of ours that the form was on, if its visitor can be told something there: a browser that
/// keeps no cookies finds no message.
pub(crate) fn came_from(headers: &HeaderMap) -> Option<&'static str> {
    let referer: Uri = headers.get(REFERER)?.to_str().ok()?.parse().ok()?;
    let is_own = referer.authority()?.as_str() == headers.get(HOST)?;
    let page = page_at(referer.path())?;
    (is_own && headers.contains_key(COOKIE)).then_some(page)
}

/// Whether this is how `Forms` refuses a form. A script that asked for JSON gets that as it is.
pub(crate) fn is_refused<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    response.status() == StatusCode::FORBIDDEN && is_text
}

impl Parts {
    /// Sends the visitor back to the form, which has a new token then; says what to do where it is not
    /// known to be a page of ours.
    pub(crate) async fn send_back(
        &self,
        session: &Session,
        form: Option<&str>,
    ) -> Result<Page, BoxError> {
        session.load().await?;
        if let Some(form) = form {
            let message = "Nothing was sent: this page was out of date. Please try again.";
            let notice = json!({ "type": "error", "message": message });
            session.flash("notification", &notice)?;
            return Ok(pages::go_to(form));
        }
        let values = context! {
            heading => "This page is out of date",
            text => "Nothing was sent. Please go back, reload the page and try again.",
        };
        let mut page = self.page("problem.html", "", session, values)?;
        *page.status_mut() = StatusCode::FORBIDDEN;
        Ok(page)
    }
}
