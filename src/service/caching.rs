//! The caching headers of a response.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, DATE, EXPIRES, GetAll},
};

use crate::clock::Clock;

/// The permission for shared caches in the headers of a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SharedCaching {
    /// There is no `Cache-Control`, and no `Expires` in the future.
    Unspecified,
    /// A shared cache may reuse the response without asking the service.
    Permitted,
    /// `Cache-Control` does not permit it.
    NotPermitted,
}

impl SharedCaching {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        // Most responses have no caching header, and one pass is faster than a lookup of each.
        if !headers.keys().any(is_caching_header) {
            return Self::Unspecified;
        }
        let lines = headers.get_all(CACHE_CONTROL);
        let is_specified = lines.iter().next().is_some();
        let directives = CacheDirectives::parse(lines);
        let permits = directives.permits || !directives.sets_age && expires_later(headers);
        if permits && !directives.forbids || permits_cdn(headers) {
            Self::Permitted
        } else if is_specified {
            Self::NotPermitted
        } else {
            Self::Unspecified
        }
    }
}

/// Returns `true` if `Expires` is later than the time of the response: its `Date`, or now, since a server
/// adds the `Date` after this. Then it permits caching, unless an age replaces it (RFC 9111, 3 and 5.3).
fn expires_later(headers: &HeaderMap) -> bool {
    let time = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let Some(expires) = time(EXPIRES) else {
        return false;
    };
    let responded = time(DATE).unwrap_or_else(|| SystemTime::from(Clock::system().now()));
    expires > responded
}

/// Returns `true` if a header for CDNs does not forbid caching. For the caches that it names, such a
/// header replaces `Cache-Control` (RFC 9213, 2.2).
fn permits_cdn(headers: &HeaderMap) -> bool {
    let mut names = headers.keys().filter(|name| is_cdn_header(name));
    names.any(|name| !CacheDirectives::parse(headers.get_all(name)).forbids)
}

/// Replaces all caching headers with `Cache-Control: no-store`.
pub(super) fn forbid_caching(headers: &mut HeaderMap) {
    let cdn_names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_cdn_header(name))
        .cloned()
        .collect();
    for name in cdn_names {
        headers.remove(name);
    }
    headers.remove(EXPIRES);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn is_caching_header(name: &HeaderName) -> bool {
    *name == CACHE_CONTROL || *name == EXPIRES || is_cdn_header(name)
}

/// Returns `true` for the headers that address CDNs only.
fn is_cdn_header(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.strip_suffix("cdn-cache-control")
        .is_some_and(|target| target.is_empty() || target.ends_with('-'))
        || name == "surrogate-control"
}

/// The directives of a caching header that decide about shared caches.
#[derive(Default)]
struct CacheDirectives {
    permits: bool,
    forbids: bool,
    /// There is a maximum age, which replaces `Expires`.
    sets_age: bool,
}

impl CacheDirectives {
    fn parse(lines: GetAll<'_, HeaderValue>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            for directive in split_list(line.as_bytes()) {
                directives.add(directive);
            }
        }
        directives
    }

    fn add(&mut self, directive: &[u8]) {
        let mut parts = directive.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next();
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        self.sets_age |= is(b"s-maxage") || is(b"max-age");
        self.permits |= is(b"public")
            || is(b"s-maxage")
            || is(b"immutable")
            || is(b"max-age") && value.is_some_and(is_above_zero);
        // With a value, the two name the fields that they hold for. The rest may be stored.
        let is_unqualified = value.is_none() && (is(b"private") || is(b"no-cache"));
        self.forbids |= is(b"no-store") || is_unqualified;
    }
}

/// Splits a list at its commas, except inside quoted strings.
fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split(move |byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b',' => return !is_quoted,
            _ => {}
        }
        false
    })
}

/// Returns `true` if a number of seconds, quoted or not, is above zero.
fn is_above_zero(value: &[u8]) -> bool {
    value
        .trim_ascii()
        .iter()
        .skip_while(|byte| **byte == b'"')
        .take_while(|byte| byte.is_ascii_digit())
        .any(|digit| *digit != b'0')
}
