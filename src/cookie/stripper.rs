//! Removal of a service's own cookies from headers, for proxies.

use bytes::{BufMut, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use memchr::{memchr, memchr_iter};

use super::{CookieName, finder::trim};

/// The removal of all cookies of one service from the headers of a request or a response.
///
/// Names are compared by the rules of a [`Finder`](super::Finder). Headers without a cookie of the
/// service cost no allocation. The time is linear in the length of the lines.
#[derive(Clone, Debug)]
pub(crate) struct CookieStripper(Box<[CookieName]>);

impl CookieStripper {
    pub(crate) fn new(names: impl IntoIterator<Item = CookieName>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Removes the cookies from the `Cookie` lines. Removes a line if nothing else is in it.
    pub(crate) fn strip_cookies(&self, headers: &mut HeaderMap) {
        let has_own =
            |line: &HeaderValue| split_cookies(line.as_bytes()).any(|cookie| self.is_own(cookie));
        retain(headers, COOKIE, has_own, |line| self.strip_line(line));
    }

    /// Removes the `Set-Cookie` lines that set or remove one of the cookies.
    pub(crate) fn strip_set_cookies(&self, headers: &mut HeaderMap) {
        let sets_own = |line: &HeaderValue| self.has_name(set_cookie_name(line));
        retain(headers, SET_COOKIE, sets_own, |_| None);
    }

    /// Returns a `Cookie` line without the cookies, or `None` if nothing is left. The bytes of the other
    /// cookies are unchanged.
    fn strip_line(&self, line: &HeaderValue) -> Option<HeaderValue> {
        let mut kept = BytesMut::with_capacity(line.len());
        for part in split_cookies(line.as_bytes()) {
            if self.is_own(part) {
                continue;
            }
            if !kept.is_empty() {
                kept.put_u8(b';');
            }
            // The space after the `;` of a removed cookie must not begin the line.
            let is_first = kept.is_empty();
            kept.extend_from_slice(if is_first {
                part.trim_ascii_start()
            } else {
                part
            });
        }
        if kept.iter().all(|byte| matches!(byte, b' ' | b'\t' | b';')) {
            return None;
        }
        let mut stripped = HeaderValue::from_maybe_shared(kept.freeze()).ok()?;
        stripped.set_sensitive(line.is_sensitive());
        Some(stripped)
    }

    /// Returns `true` if a part of a `Cookie` line is one of the cookies.
    fn is_own(&self, part: &[u8]) -> bool {
        let name = memchr(b'=', part).and_then(|end| part.get(..end));
        name.is_some_and(|name| self.has_name(trim(name)))
    }

    fn has_name(&self, name: &[u8]) -> bool {
        self.0.iter().any(|own| own.as_str().as_bytes() == name)
    }
}

/// Replaces the lines of a header that match by their replacements. Other lines stay, in order.
fn retain(
    headers: &mut HeaderMap,
    name: HeaderName,
    matches: impl Fn(&HeaderValue) -> bool,
    replace: impl Fn(&HeaderValue) -> Option<HeaderValue>,
) {
    let mut lines = headers.get_all(&name).iter();
    let (first, is_single) = (lines.next(), lines.next().is_none());
    if is_single {
        let Some(line) = first.filter(|line| matches(line)) else {
            return;
        };
        // The usual case needs no new entry in the map.
        match (replace(line), headers.get_mut(&name)) {
            (Some(replacement), Some(line)) => *line = replacement,
            _ => drop(headers.remove(&name)),
        }
        return;
    }
    if !headers.get_all(&name).iter().any(&matches) {
        return;
    }
    let lines = headers.get_all(&name).into_iter();
    let lines: Vec<HeaderValue> = lines
        .filter_map(|line| match matches(line) {
            true => replace(line),
            false => Some(line.clone()),
        })
        .collect();
    headers.remove(&name);
    for line in lines {
        headers.append(name.clone(), line);
    }
}

/// Returns the name that a `Set-Cookie` line sets.
///
/// A browser sends a cookie without a name as its value only (RFC 6265bis section 5.8.3), so
/// `=name=value` is returned as `name`.
pub(crate) fn set_cookie_name(line: &HeaderValue) -> &[u8] {
    let line = line.as_bytes();
    let end = memchr(b';', line).unwrap_or(line.len());
    let mut pair = trim(line.get(..end).unwrap_or(line));
    while let [b'=', value @ ..] = pair {
        pair = trim(value);
    }
    let end = memchr(b'=', pair).unwrap_or(pair.len());
    trim(pair.get(..end).unwrap_or(pair))
}

/// Splits a `Cookie` line at each `;`.
fn split_cookies(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr_iter(b';', line).chain(std::iter::once(line.len()));
    ends.scan(0, |start, end| {
        let part = line.get(*start..end);
        *start = end + 1;
        part
    })
}
