//! Search for a cookie in a request.

use std::{fmt, iter::FusedIterator};

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, ValueIter},
};
use memchr::{memchr, memmem};

use super::CookieName;

/// Maximum number of cookies of one name that a [`Finder`] returns from one request.
///
/// Browsers send more than one only if paths or domains overlap. The caller opens each candidate, so this limit bounds the cost of a request from a hostile client.
pub const MAX_CANDIDATES: usize = 16;

/// A search for the cookies of one name in the `Cookie` header lines of a request.
///
/// Build it once and reuse it, because building prepares the search.
///
/// # Rules
///
/// All header lines are read in order: HTTP/2 may split the field into one line per cookie
/// (RFC 9113 section 8.2.3), and other clients may send several lines too (RFC 6265bis section
/// 4.2.1). A line is split at each `;`, and each part at its first `=`. Only spaces and tabs around
/// name and value are removed, so a name after a no-break space is another name. Names are compared
/// byte by byte, so the look-alike `__host-sid` is not `__Host-sid`. A part without `=` has no name
/// and never matches.
///
/// A value is returned as it was sent, without one pair of double quotes around it. (User agents
/// keep quotes that a server sent, RFC 6265bis section 4.1.1. This crate sends none, so an
/// intermediary added them.) Nothing is percent-decoded. Quotes do not protect a `;`, and `$Version`
/// has no meaning.
///
/// All cookies of the name are returned, up to [`MAX_CANDIDATES`]. A sibling subdomain can set a
/// cookie that comes first, so the caller must not rely on the first one.
///
/// # Cost
///
/// No allocation. The time is linear in the length of the lines, for any content.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::COOKIE};
/// use hyper_session::cookie::{CookieName, Finder};
///
/// let finder = Finder::new(&CookieName::new("sid")?);
/// let mut headers = HeaderMap::new();
/// headers.append(COOKIE, HeaderValue::from_static("theme=dark; sid=abc"));
/// headers.append(COOKIE, HeaderValue::from_static("sid=def"));
///
/// let values: Vec<&[u8]> = finder.find(&headers).collect();
/// assert_eq!(values, [b"abc", b"def"]);
/// # Ok::<(), hyper_session::cookie::CookieNameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Finder(memmem::Finder<'static>);

impl Finder {
    /// Creates a finder for cookies called `name`.
    pub fn new(name: &CookieName) -> Self {
        Self(memmem::Finder::new(name.as_str()).into_owned())
    }

    /// Returns the values of the cookies of this name in `headers`, in order.
    pub fn find<'a>(&'a self, headers: &'a HeaderMap) -> Candidates<'a> {
        Candidates {
            name: &self.0,
            lines: Some(headers.get_all(COOKIE).iter()),
            line: &[],
            at: 0,
            remaining: MAX_CANDIDATES,
        }
    }

    /// Returns the values of the cookies of this name in one `Cookie` line, in order.
    pub fn find_in<'a>(&'a self, line: &'a [u8]) -> Candidates<'a> {
        Candidates {
            name: &self.0,
            lines: None,
            line,
            at: 0,
            remaining: MAX_CANDIDATES,
        }
    }

    /// Returns the next value in `line` from the offset `at` on, and moves `at` behind it. An iterator costs
    /// about 100 instructions more for each line.
    #[inline]
    pub(crate) fn next_in<'a>(&self, line: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
        next_in_line(&self.0, line, at)
    }
}

/// An iterator over the cookie values that a [`Finder`] finds in one request.
///
/// `Debug` does not show the cookies.
pub struct Candidates<'a> {
    name: &'a memmem::Finder<'static>,
    lines: Option<ValueIter<'a, HeaderValue>>,
    line: &'a [u8],
    /// The offset in `line` from which the search continues.
    at: usize,
    remaining: usize,
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.remaining = self.remaining.checked_sub(1)?;
        loop {
            if let Some(value) = self.next_in_line() {
                return Some(value);
            }
            match self.lines.as_mut().and_then(Iterator::next) {
                Some(line) => (self.line, self.at) = (line.as_bytes(), 0),
                None => {
                    self.remaining = 0;
                    return None;
                }
            }
        }
    }
}

impl FusedIterator for Candidates<'_> {}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidates").finish_non_exhaustive()
    }
}

impl<'a> Candidates<'a> {
    fn next_in_line(&mut self) -> Option<&'a [u8]> {
        next_in_line(self.name, self.line, &mut self.at)
    }
}

/// Returns the next value in `line` from the offset `at` on, and moves `at` behind it.
///
/// The search continues after each match of the name, so each byte is read a bounded number of times.
#[inline]
fn next_in_line<'a>(
    name: &memmem::Finder<'static>,
    line: &'a [u8],
    at: &mut usize,
) -> Option<&'a [u8]> {
    loop {
        let rest = line.get(*at..)?;
        let Some(found) = name.find(rest) else {
            *at = line.len();
            return None;
        };
        let start = *at + found;
        *at = start + name.needle().len();
        let (before, after) = (line.get(..start)?, line.get(*at..)?);
        if let [b'=', value @ ..] = trim_start(after)
            && starts_cookie(before)
        {
            let end = memchr(b';', value).unwrap_or(value.len());
            *at = line.len() - value.len() + end;
            return value.get(..end).map(|value| unquote(trim(value)));
        }
    }
}

/// Returns `true` if a cookie begins at the end of `before`.
fn starts_cookie(before: &[u8]) -> bool {
    matches!(trim_end(before), [] | [.., b';'])
}

pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_start(trim_end(bytes))
}

pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    }
}
