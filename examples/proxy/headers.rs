//! The headers that a proxy removes, replaces and adds (RFC 9110 section 7.6, RFC 7239).

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
    },
    request::Parts,
};

/// The user of the session, for the upstream server.
pub(crate) const USER: HeaderName = HeaderName::from_static("x-user");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The headers in which a proxy describes its client.
const FORWARDED_HEADERS: [HeaderName; 4] =
    [FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO];

/// The headers of one connection, and of its two ends, whether `Connection` names them or not.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The proxy's name in `Via`.
const PSEUDONYM: &str = "hyper-session";

/// The client, as the upstream server sees it.
pub(crate) struct Client<'a> {
    pub(crate) address: IpAddr,
    /// The client is a proxy whose headers are kept.
    pub(crate) is_trusted: bool,
    pub(crate) user: Option<&'a HeaderValue>,
}

/// Returns the host that the client requested, or `None` if there is none, or more than one.
pub(crate) fn requested_host(head: &Parts) -> Option<HeaderValue> {
    // The target's authority replaces the header (RFC 9112 section 3.2.2).
    if let Some(authority) = head.uri.authority() {
        return HeaderValue::from_str(authority.as_str()).ok();
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    hosts.next().filter(|_| hosts.next().is_none()).cloned()
}

/// Returns `true` if a request asks for a WebSocket. Other protocols are not forwarded: `h2c`, for example,
/// would bypass the gate.
pub(crate) fn is_websocket<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == http::Method::GET
        && has_token(request.headers(), &CONNECTION, "upgrade")
        && request
            .headers()
            .get(UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Prepares a request's headers for the upstream server.
pub(crate) fn prepare_request(
    head: &mut Parts,
    host: HeaderValue,
    client: &Client<'_>,
    is_websocket: bool,
) {
    let version = head.version;
    let headers = &mut head.headers;
    let takes_trailers = has_token(headers, &TE, "trailers");
    // A client may name any header in `Connection`, so the proxy adds its own headers after this.
    remove_hop_by_hop(headers);
    remove_user(headers);
    if let Some(user) = client.user {
        headers.insert(USER, user.clone());
    }
    if is_websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if takes_trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    add_forwarded(headers, &host, client);
    headers.insert(HOST, host);
    add_via(headers, version);
    join_cookies(headers);
}

/// Prepares a response's headers for the client.
pub(crate) fn prepare_response(headers: &mut HeaderMap, version: Version) {
    // The length is invalid then, and must not be forwarded (RFC 9112 section 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
    add_via(headers, version);
}

/// Removes the headers that concern one connection only.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let lines = headers.get_all(CONNECTION).into_iter();
        let names: Vec<HeaderName> = lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
    }
    HOP_BY_HOP
        .iter()
        .for_each(|name| drop(headers.remove(name)));
}

/// Removes the user's header in all spellings that a server may read as the same name.
pub(crate) fn remove_user(headers: &mut HeaderMap) {
    remove_spellings(headers, &[USER]);
}

/// Removes headers in all spellings that a server may read as one of these names.
fn remove_spellings(headers: &mut HeaderMap, names: &[HeaderName]) {
    let is_same = |name: &&HeaderName| {
        let spelling = name.as_str().replace('_', "-");
        names.iter().any(|name| spelling == name.as_str())
    };
    let found: Vec<HeaderName> = headers.keys().filter(is_same).cloned().collect();
    found.iter().for_each(|name| drop(headers.remove(name)));
}

/// Prepares the trailers of a request: a client must not add there what the proxy says in the headers.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_user(trailers);
    remove_spellings(trailers, &FORWARDED_HEADERS);
}

/// A response's trailers are passed on unchanged.
pub(crate) const fn keep_trailers(_: &mut HeaderMap) {}

/// Adds the client to the headers for the upstream server. Those of a client that is not a trusted proxy
/// are replaced.
fn add_forwarded(headers: &mut HeaderMap, host: &HeaderValue, client: &Client<'_>) {
    if !client.is_trusted {
        remove_spellings(headers, &FORWARDED_HEADERS);
    }
    let address = client.address.to_canonical();
    append_item(headers, FORWARDED_FOR, &address.to_string());
    let host_text = String::from_utf8_lossy(host.as_bytes()).replace(['"', '\\'], "");
    append_item(
        headers,
        FORWARDED,
        &match address {
            IpAddr::V4(address) => format!("for={address};host=\"{host_text}\";proto=http"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";host=\"{host_text}\";proto=http"),
        },
    );
    headers
        .entry(FORWARDED_HOST)
        .or_insert_with(|| host.clone());
    let http = HeaderValue::from_static("http");
    headers.entry(FORWARDED_PROTO).or_insert(http);
}

fn add_via(headers: &mut HeaderMap, version: Version) {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    append_item(headers, VIA, &format!("{version} {PSEUDONYM}"));
}

/// Appends an item to a list header, in one line.
fn append_item(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(item.as_bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

/// Joins the `Cookie` lines that HTTP/2 may split (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE);
    if lines.iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Returns `true` if a list header has this item. Parameters of the item are ignored.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|item| item.split(|byte| *byte == b';').next())
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
