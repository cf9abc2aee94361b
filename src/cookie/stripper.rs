//! Removal of a service's own cookies from headers, for proxies.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use memchr::memchr;
use smallvec::SmallVec;

use super::{
    CookieName,
    finder::{trim, trim_start},
};

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
        edit_lines(headers, &COOKIE, |line| self.strip_line(line));
    }

    /// Removes the `Set-Cookie` lines that set or remove one of the cookies.
    pub(crate) fn strip_set_cookies(&self, headers: &mut HeaderMap) {
        edit_lines(headers, &SET_COOKIE, |line| {
            let name = set_cookie_name(line);
            let is_own = self.0.iter().any(|own| own.as_str().as_bytes() == name);
            if is_own { Edit::Remove } else { Edit::Keep }
        });
    }

    /// Removes the cookies from a `Cookie` line. The bytes of the other cookies do not change.
    fn strip_line(&self, line: &HeaderValue) -> Edit {
        let bytes = line.as_bytes();
        let mut kept: Option<SmallVec<[u8; 256]>> = None;
        let mut start = 0;
        while let Some(rest) = bytes.get(start..) {
            let part = memchr(b';', rest).and_then(|end| rest.get(..end));
            let part = part.unwrap_or(rest);
            if self.is_own(part) {
                kept.get_or_insert_with(|| {
                    let before = bytes.get(..start.saturating_sub(1));
                    SmallVec::from_slice(trim_separators(before.unwrap_or_default()))
                });
            } else if let Some(kept) = &mut kept {
                if kept.is_empty() {
                    // The space after the `;` of a removed cookie must not begin the line.
                    kept.extend_from_slice(part.trim_ascii_start());
                } else {
                    kept.push(b';');
                    kept.extend_from_slice(part);
                }
            }
            start += part.len() + 1;
        }
        let Some(kept) = kept else {
            return Edit::Keep;
        };
        if trim_separators(&kept).is_empty() {
            return Edit::Remove;
        }
        // Parts of a header value are a header value.
        HeaderValue::from_bytes(&kept).map_or(Edit::Remove, |mut stripped| {
            stripped.set_sensitive(line.is_sensitive());
            Edit::Replace(stripped)
        })
    }

    /// Returns `true` if a part of a `Cookie` line is one of the cookies.
    fn is_own(&self, part: &[u8]) -> bool {
        let part = trim_start(part);
        self.0.iter().any(|own| {
            let rest = part.strip_prefix(own.as_str().as_bytes());
            rest.is_some_and(|rest| trim_start(rest).starts_with(b"="))
        })
    }
}

/// An edit of a line of a header.
enum Edit {
    Keep,
    Remove,
    Replace(HeaderValue),
}

/// Edits the lines of a header. The order of the lines does not change.
fn edit_lines(headers: &mut HeaderMap, name: &HeaderName, edit: impl Fn(&HeaderValue) -> Edit) {
    // In the usual case each header has one line, so one lookup finds all lines.
    if headers.len() == headers.keys_len() {
        let Some(line) = headers.get_mut(name) else {
            return;
        };
        match edit(line) {
            Edit::Keep => {}
            Edit::Replace(edited) => *line = edited,
            Edit::Remove => drop(headers.remove(name)),
        }
        return;
    }
    let is_kept = |line| matches!(edit(line), Edit::Keep);
    if headers.get_all(name).iter().all(is_kept) {
        return;
    }
    let lines = headers.get_all(name).into_iter();
    let lines = lines.filter_map(|line| match edit(line) {
        Edit::Keep => Some(line.clone()),
        Edit::Replace(edited) => Some(edited),
        Edit::Remove => None,
    });
    let lines: Vec<HeaderValue> = lines.collect();
    headers.remove(name);
    for line in lines {
        headers.append(name, line);
    }
}

/// Removes separators and white space from the start of a `Cookie` line.
fn trim_separators(line: &[u8]) -> &[u8] {
    let is_cookie = |byte: &u8| !matches!(byte, b' ' | b'\t' | b';');
    let start = line.iter().position(is_cookie).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
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
