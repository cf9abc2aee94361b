//! The proxy's own pages.

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use http_body_util::{BodyExt, Either, Full, combinators::UnsyncBoxBody};

use crate::{BoxError, body::StreamedBody};

/// The body of the upstream server, or of one of the proxy's own pages.
pub(crate) type ProxyBody = Either<StreamedBody, UnsyncBoxBody<Bytes, BoxError>>;

pub(crate) type Page = Response<Full<Bytes>>;

/// Returns one of the proxy's own pages as a response.
pub(crate) fn own<B>(page: Response<B>) -> Response<ProxyBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    page.map(|body| Either::Right(body.map_err(Into::into).boxed_unsync()))
}

/// Returns a page with the text of a status.
pub(crate) fn status_page(status: StatusCode) -> Response<ProxyBody> {
    let mut page = Response::new(Full::from(status.to_string()));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, "text/plain".parse().expect("a header value"));
    headers.insert(CACHE_CONTROL, "no-store".parse().expect("a header value"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, 1.into());
    }
    own(page)
}

/// Returns a redirect to a path.
///
/// # Errors
/// If the path cannot be in a header.
pub(crate) fn see_other(path: &str) -> Result<Page, http::Error> {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(LOCATION, path)
        .body(Full::default())
}

/// Returns the page with the sign-in form. No text of it comes from a client.
///
/// # Errors
/// Never: the headers are constant.
pub(crate) fn sign_in(csrf_field: &str, failed: bool) -> Result<Page, http::Error> {
    let message = match failed {
        true => "<p role=alert>Wrong name or password.</p>",
        false => "",
    };
    let page = format!(
        "<!doctype html><html lang=en><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><title>Sign in</title><h1>Sign in</h1>{message}\
         <form method=post>{csrf_field}\
         <label>Name <input name=name autocomplete=username required></label> \
         <label>Password <input name=password type=password autocomplete=current-password required>\
         </label> <button>Sign in</button></form></html>"
    );
    Response::builder()
        .header(CONTENT_TYPE, "text/html; charset=utf-8")
        .header(CACHE_CONTROL, "no-store")
        .header(
            "content-security-policy",
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
        )
        .body(Full::from(page))
}
