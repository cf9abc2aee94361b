//! Finding a cookie in a request.

use std::iter::FusedIterator;

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, ValueIter},
};
use memchr::{memchr, memmem};

use super::CookieName;

/// How many cookies of one name a [`Finder`] offers from one request.
///
/// Browsers send more than one only where paths or domains overlap. Each one costs its reader an
/// attempt at opening it, and this many is all that a hostile client can make it spend.
pub const MAX_CANDIDATES: usize = 16;

/// Finds the cookies of one name in a request's `Cookie` header lines.
///
/// Build it once and keep it: what a search needs is prepared here.
///
/// # What is found
///
/// All header lines are read in their order, as HTTP/2 may split the field into one line a cookie
/// (RFC 9113 section 8.2.3) and other clients send several too (RFC 6265bis section 4.2.1). A line
/// is split at every `;`, each part at its first `=`; spaces and tabs around name and value go,
/// and nothing else does: a name led by a no-break space is another name. Names are compared byte
/// by byte, so the look-alike `__host-sid` is not `__Host-sid`. A part without `=` has no name and
/// never matches.
///
/// A value is offered as it was sent, without one pair of double quotes around it. (User agents
/// keep quotes that a server sent, RFC 6265bis section 4.1.1. This crate sends none: quotes that
/// come back were put there by something on the way.) Nothing is percent-decoded, quotes do not
/// protect a `;`, and `$Version` does not change how the line is read.
///
/// Every cookie of the name is offered, up to [`MAX_CANDIDATES`], because which of two cookies
/// comes first can be chosen by a neighbour on the same domain: take the first that authenticates.
///
/// # Cost
///
/// No allocation; time linear in the length of the lines, whatever they hold.
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
/// let found: Vec<&[u8]> = finder.find(&headers).collect();
/// assert_eq!(found, [b"abc", b"def"]);
/// # Ok::<(), hyper_session::cookie::CookieNameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Finder(memmem::Finder<'static>);

impl Finder {
    /// A finder for cookies called `name`.
    pub fn new(name: &CookieName) -> Self {
        Self(memmem::Finder::new(name.as_str()).into_owned())
    }

    /// The values of the cookies of this name in `headers`, first to last.
    pub fn find<'a>(&'a self, headers: &'a HeaderMap) -> Candidates<'a> {
        Candidates {
            name: &self.0,
            lines: Some(headers.get_all(COOKIE).iter()),
            rest: &[],
            left: MAX_CANDIDATES,
        }
    }

    /// The values of the cookies of this name in one `Cookie` line.
    pub fn find_in<'a>(&'a self, line: &'a [u8]) -> Candidates<'a> {
        Candidates {
            name: &self.0,
            lines: None,
            rest: line,
            left: MAX_CANDIDATES,
        }
    }
}

/// The values of the cookies that a [`Finder`] found in one request.
#[derive(Debug)]
pub struct Candidates<'a> {
    name: &'a memmem::Finder<'static>,
    lines: Option<ValueIter<'a, HeaderValue>>,
    /// What is still to be searched of the current line; it begins where a cookie begins.
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(value) = self.next_in_line() {
                return Some(value);
            }
            match self.lines.as_mut().and_then(Iterator::next) {
                Some(line) => self.rest = line.as_bytes(),
                None => {
                    self.left = 0;
                    return None;
                }
            }
        }
    }
}

impl FusedIterator for Candidates<'_> {}

impl<'a> Candidates<'a> {
    /// The next value in the current line.
    ///
    /// Wherever the name is met, the search goes on behind the next `;`: either this cookie has
    /// the name, or its name began earlier and is another. So no byte is looked at more often than
    /// a fixed number of times.
    fn next_in_line(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.rest;
            let Some((before, from_name)) = self
                .name
                .find(line)
                .and_then(|at| line.split_at_checked(at))
            else {
                self.rest = &[];
                return None;
            };
            let after = from_name.get(self.name.needle().len()..).unwrap_or(&[]);
            let (cookie, rest) = split_cookie(after);
            self.rest = rest;
            if starts_cookie(before)
                && let [b'=', value @ ..] = trim_start(cookie)
            {
                return Some(unquote(trim(value)));
            }
        }
    }
}

/// What stands before the first `;`, and what behind it.
fn split_cookie(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b';', line).unwrap_or(line.len());
    let (cookie, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    (cookie, rest.get(1..).unwrap_or(&[]))
}

/// Whether a cookie begins where `before` ends.
fn starts_cookie(before: &[u8]) -> bool {
    matches!(trim_end(before), [] | [.., b';'])
}

fn trim(bytes: &[u8]) -> &[u8] {
    trim_start(trim_end(bytes))
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
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
