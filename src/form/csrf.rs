//! Whether a request that would change something comes from a page of ours.

use http::{
    HeaderMap, Uri,
    header::{HOST, HeaderName, ORIGIN},
    request,
};
use http_body::Body;

use super::{
    InputLimits,
    body::FormBody,
    error::{BoxError, InputError, InputErrorKind},
    kind::Kind,
    origin::Origins,
    reading::{Ahead, Reading},
};
use crate::session::Session;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TOKENS: [HeaderName; 2] = [
    HeaderName::from_static("x-csrf-token"),
    HeaderName::from_static("x-xsrf-token"),
];

/// What the head of a request says.
pub(super) enum Verdict {
    /// It may pass.
    Pass,
    /// It may not.
    Refused(InputErrorKind),
    /// The token can only be in its body.
    InBody,
}

/// Judges by the head alone. The session need not be loaded, and no store is asked.
pub(super) fn judge(head: &request::Parts, session: &Session, origins: &Origins) -> Verdict {
    if head.method.is_safe() {
        return Verdict::Pass;
    }
    if let Some(reason) = is_foreign(&head.uri, &head.headers, origins) {
        return Verdict::Refused(InputErrorKind::Csrf(reason));
    }
    if let Some(token) = TOKENS.iter().find_map(|name| head.headers.get(name)) {
        let good = token
            .to_str()
            .is_ok_and(|token| session.verify_csrf_token(token));
        return match good {
            true => Verdict::Pass,
            false => Verdict::Refused(InputErrorKind::Csrf(WRONG)),
        };
    }
    match Kind::of(&head.headers) {
        Ok(kind) if kind.is_form() => Verdict::InBody,
        _ => Verdict::Refused(InputErrorKind::Csrf(MISSING)),
    }
}

const WRONG: &str = "its token is not one of this session";
const MISSING: &str = "it has no token";

/// Why a browser says that another site sent it. Fetch metadata is what no page can forge; a browser
/// that sends none names the origin in every request that is not safe. Clients that name neither are
/// no browsers: their token decides.
fn is_foreign(uri: &Uri, headers: &HeaderMap, origins: &Origins) -> Option<&'static str> {
    let origin = headers.get(ORIGIN);
    let url = origin.and_then(|origin| Uri::try_from(origin.as_bytes()).ok());
    let own = url.is_some_and(|url| origins.own(&url, uri, headers.get(HOST)));
    match headers.get(FETCH_SITE).map(|site| site.as_bytes()) {
        Some(b"same-origin" | b"none") => None,
        // A sibling host is another site, unless its origin was named as ours.
        Some(_) => (origins.0.is_empty() || !own).then_some("another site sent it"),
        None => (origin.is_some() && !own).then_some("its origin is another"),
    }
}

/// Reads a form as far as its first file, and looks for the token.
pub(super) async fn check_body<B>(
    mut head: request::Parts,
    body: FormBody<B>,
    session: &Session,
    limits: &InputLimits,
) -> Result<http::Request<FormBody<B>>, InputError>
where
    B: Body + Send + 'static,
    B::Data: From<bytes::Bytes>,
    B::Error: Into<BoxError>,
{
    let reading = Reading::begin(&head.uri, &head.headers, body, limits).await?;
    match reading.token() {
        None => return Err(InputErrorKind::Csrf(MISSING).into()),
        Some(token) if !session.verify_csrf_token(token) => {
            return Err(InputErrorKind::Csrf(WRONG).into());
        }
        Some(_) => Ahead::put(reading, &mut head),
    }
    Ok(http::Request::from_parts(head, FormBody::read()))
}
