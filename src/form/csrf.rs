//! CSRF checks of requests with unsafe methods, and of WebSocket handshakes.

use http::{
    HeaderMap, Method, Uri, Version,
    header::{HOST, HeaderName, ORIGIN, UPGRADE},
    request,
};
use http_body::Body;

use super::{
    InputLimits,
    body::FormBody,
    content_type::BodyType,
    error::{
        BoxError, CROSS_ORIGIN, INVALID_TOKEN, InputError, InputErrorKind, MISSING_TOKEN,
        OTHER_ORIGIN,
    },
    reader::{PreReadInput, RequestReader},
    replay::{BodyRecorder, ReplayBody},
};
use crate::{service::OwnOrigins, session::Session};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TOKEN_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-csrf-token"),
    HeaderName::from_static("x-xsrf-token"),
];

/// The result of the CSRF check of a request's head.
pub(super) enum HeadCheck {
    Accept,
    Reject(InputErrorKind),
    /// A header contains the token, and the request has several session cookies.
    Identify,
    /// The body may contain the token.
    ReadBody,
}

/// Checks the head of a request with an unsafe method. The session need not be loaded, and no store is
/// queried.
pub(super) fn check_head(
    head: &request::Parts,
    session: &Session,
    origins: &OwnOrigins,
) -> HeadCheck {
    if let Some(reason) = cross_origin_reason(&head.uri, &head.headers, origins) {
        return HeadCheck::Reject(InputErrorKind::Csrf(reason));
    }
    if let Some(token) = header_token(&head.headers) {
        return match session.verify_csrf_token(token) {
            _ if session.is_id_ambiguous() => HeadCheck::Identify,
            true => HeadCheck::Accept,
            false => HeadCheck::Reject(InputErrorKind::Csrf(INVALID_TOKEN)),
        };
    }
    match BodyType::from_headers(&head.headers) {
        Ok(body_type) if body_type.has_fields() => HeadCheck::ReadBody,
        _ => HeadCheck::Reject(InputErrorKind::Csrf(MISSING_TOKEN)),
    }
}

/// Returns the token in the headers; the empty text if it is not visible ASCII.
fn header_token(headers: &HeaderMap) -> Option<&str> {
    let token = TOKEN_HEADERS.iter().find_map(|name| headers.get(name))?;
    Some(token.to_str().unwrap_or_default())
}

/// Returns `true` if no page can add a token to the request, and a page of any site can send it with the
/// visitor's cookies: a WebSocket handshake.
///
/// It is a GET with `Upgrade`. Over HTTP/2 and later it is a CONNECT with the pseudo-header `:protocol`
/// (RFC 8441 and RFC 9220). Only such a CONNECT has a scheme.
pub(super) fn is_handshake(head: &request::Parts) -> bool {
    if head.method == Method::CONNECT {
        return head.version > Version::HTTP_11 && head.uri.scheme().is_some();
    }
    let upgrade = head.headers.get(UPGRADE);
    head.method.is_safe()
        && upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Checks the origin of a WebSocket handshake.
pub(super) fn check_handshake(head: &request::Parts, origins: &OwnOrigins) -> HeadCheck {
    match cross_origin_reason(&head.uri, &head.headers, origins) {
        None => HeadCheck::Accept,
        Some(reason) => HeadCheck::Reject(InputErrorKind::Csrf(reason)),
    }
}

/// Returns the reason to reject a request from another origin; `None` if the token must decide.
///
/// A page cannot forge `Sec-Fetch-Site`. A browser that does not send it sends `Origin` with every
/// unsafe method. A client that sends neither is not a browser.
fn cross_origin_reason(
    uri: &Uri,
    headers: &HeaderMap,
    origins: &OwnOrigins,
) -> Option<&'static str> {
    let origin = headers.get(ORIGIN);
    let url = origin.and_then(|origin| Uri::try_from(origin.as_bytes()).ok());
    let is_own = url.is_some_and(|url| origins.contains(&url, uri, headers.get(HOST)));
    match headers.get(FETCH_SITE).map(|site| site.as_bytes()) {
        Some(b"same-origin" | b"none") => None,
        // `same-site` comes from a sibling host, which is accepted only if its origin is configured.
        Some(_) => (origins.0.is_empty() || !is_own).then_some(CROSS_ORIGIN),
        None => (origin.is_some() && !is_own).then_some(OTHER_ORIGIN),
    }
}

/// Checks the token in the headers of a request with several session cookies.
pub(super) async fn check_header_token<B>(
    head: request::Parts,
    body: B,
    session: &Session,
) -> Result<http::Request<FormBody<B>>, InputError> {
    verify(session, header_token(&head.headers).unwrap_or_default()).await?;
    Ok(http::Request::from_parts(head, body.into()))
}

/// Verifies a token. Of several session cookies, it must belong to the session that is alive.
async fn verify(session: &Session, token: &str) -> Result<(), InputError> {
    if session.is_id_ambiguous() {
        // If the store fails, the session service replaces the response with a 503.
        let _ = session.identify().await;
    }
    match session.verify_csrf_token(token) {
        true => Ok(()),
        false => Err(InputErrorKind::Csrf(INVALID_TOKEN).into()),
    }
}

/// Reads the body up to its first file and checks its token. Returns the request with the input in its
/// extensions, and with a body that replays the bytes that were read.
pub(super) async fn check_body<B>(
    mut head: request::Parts,
    body: B,
    session: &Session,
    limits: &InputLimits,
) -> Result<http::Request<FormBody<B>>, InputError>
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let recorder = BodyRecorder::new(body);
    let recording = recorder.recording();
    let reader = RequestReader::start(&head.uri, &head.headers, recorder, limits).await?;
    match reader.token() {
        None => return Err(InputErrorKind::Csrf(MISSING_TOKEN).into()),
        Some(token) => verify(session, token).await?,
    }
    let input = PreReadInput::insert(reader, &mut head);
    let body = FormBody::from_replay(ReplayBody::new(input, recording));
    Ok(http::Request::from_parts(head, body))
}
