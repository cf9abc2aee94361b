//! Stores that keep records in the visitor's cookies.

use std::{fmt, slice, sync::Arc, time::Duration};

use http::HeaderValue;
use smallvec::SmallVec;

use super::{Store, StoreError};
use crate::{
    cookie::{Attributes, CookieName},
    id::StoreKey,
    seal::KeyRing,
};

/// A store that keeps records in cookies.
///
/// Three types take part. A `ClientSideStore` is the configuration. When sessions are built,
/// [`bind`](Self::bind) joins it with the keys and the cookie of the service. Each request that loads
/// its session then gets a store of its own from [`BoundStore::attach`].
pub trait ClientSideStore: Send + Sync {
    /// Returns the store with the keys and the cookie of one service.
    ///
    /// # Errors
    /// If the store cannot use them.
    fn bind(&self, context: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError>;
}

/// A client-side store with keys.
///
/// Its [`Store`] methods run without a request, so most operations fail.
pub trait BoundStore: Store {
    /// Returns the store for a request with these `Cookie` header lines. It opens no cookie yet.
    fn attach(&self, cookie_lines: &[HeaderValue]) -> Arc<dyn RequestStore>;

    /// Returns the names of all cookies that the store may set.
    /// [`Sessions::strip_cookies`](crate::Sessions::strip_cookies) removes them.
    fn cookie_names(&self) -> Vec<CookieName>;

    /// Returns `true` if the store has a revocation list. Its entries expire after
    /// [`max_ttl`](CookieContext::max_ttl), so no session may live longer. The default is
    /// [`Capabilities::tombstones`](super::Capabilities#structfield.tombstones).
    fn has_revocation_list(&self) -> bool {
        self.capabilities().tombstones
    }
}

/// A client-side store in one request.
pub trait RequestStore: Store {
    /// Returns the cookies that the response must set after the operations so far. They have no `Max-Age`
    /// if `clear_with_browser` is set, so that browsers drop them when they close.
    ///
    /// Sessions call this at the end of a request and after each explicit commit.
    ///
    /// # Errors
    /// If the data cannot be sealed.
    fn set_cookies(&self, clear_with_browser: bool) -> Result<SetCookies, StoreError>;

    /// Returns the reason why the store rejected the request's cookies, or `None` if it did not. The
    /// reason contains nothing of the cookies.
    fn rejection(&self) -> Option<&'static str>;

    /// Returns the time until the session under `key` in the request's cookies expires, or `None` if
    /// they contain no live session under `key`. Does not check for revocation.
    fn remaining_ttl(&self, key: &StoreKey) -> Option<Duration>;
}

/// The service's side of a client-side store: its keys and its cookie.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CookieContext<'a> {
    /// The keys. The first key seals; every key opens.
    pub keys: &'a KeyRing,
    /// The name of the id cookie.
    pub name: &'a CookieName,
    /// The attributes of the id cookie.
    pub attributes: &'a Attributes,
    /// The maximum time to live that a write or a touch sets.
    pub max_ttl: Duration,
}

impl<'a> CookieContext<'a> {
    /// Returns the context of a service.
    pub const fn new(
        keys: &'a KeyRing,
        name: &'a CookieName,
        attributes: &'a Attributes,
        max_ttl: Duration,
    ) -> Self {
        Self {
            keys,
            name,
            attributes,
            max_ttl,
        }
    }
}

/// The `Cookie` header lines of one request. Cloning a line copies no text.
pub(crate) type CookieLines = SmallVec<[HeaderValue; 1]>;

/// `Set-Cookie` header lines to append to one response.
///
/// Holds one line without an allocation. `Debug` shows only the number of lines.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SetCookies(SmallVec<[HeaderValue; 1]>);

impl SetCookies {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a line.
    pub fn push(&mut self, line: HeaderValue) {
        self.0.push(line);
    }

    /// Returns an iterator over the lines.
    pub fn iter(&self) -> slice::Iter<'_, HeaderValue> {
        self.0.iter()
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there is no line.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SetCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetCookies({})", self.len())
    }
}

impl FromIterator<HeaderValue> for SetCookies {
    fn from_iter<I: IntoIterator<Item = HeaderValue>>(lines: I) -> Self {
        Self(lines.into_iter().collect())
    }
}

impl Extend<HeaderValue> for SetCookies {
    fn extend<I: IntoIterator<Item = HeaderValue>>(&mut self, lines: I) {
        self.0.extend(lines);
    }
}

impl<'a> IntoIterator for &'a SetCookies {
    type Item = &'a HeaderValue;
    type IntoIter = slice::Iter<'a, HeaderValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for SetCookies {
    type Item = HeaderValue;
    type IntoIter = SetCookiesIntoIter;

    fn into_iter(self) -> SetCookiesIntoIter {
        SetCookiesIntoIter(self.0.into_iter())
    }
}

/// An owning iterator over [`SetCookies`].
pub struct SetCookiesIntoIter(smallvec::IntoIter<[HeaderValue; 1]>);

impl Iterator for SetCookiesIntoIter {
    type Item = HeaderValue;

    fn next(&mut self) -> Option<HeaderValue> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl fmt::Debug for SetCookiesIntoIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetCookiesIntoIter")
    }
}
