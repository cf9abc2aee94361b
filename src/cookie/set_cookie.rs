//! Writing Set-Cookie.

use std::{
    fmt::{self, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::HeaderValue;
use httpdate::HttpDate;
use smallvec::SmallVec;

use super::{Attributes, CookieError, CookieName};

/// The longest lifetime that user agents grant: 400 days (RFC 6265bis section 5.5).
///
/// [`SetCookie`] sends no more than this. Compare a configured lifetime with it to warn whoever
/// asked for more.
pub const MAX_AGE: Duration = Duration::from_secs(34_560_000);

/// The most bytes that a cookie's name and value may have together (RFC 6265bis section 5.6).
pub const MAX_PAIR_LEN: usize = 4096;

/// The last second that an IMF-fixdate can tell: the end of the year 9999.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// Writes the `Set-Cookie` header values of one cookie.
///
/// Name and attributes are checked once, when it is built, and their bytes kept ready. What is
/// written is `name=value`, then, where given, `Max-Age` and `Expires`, then `Domain`, `Path`,
/// `Secure`, `HttpOnly`, `SameSite` and `Partitioned`, each at most once.
///
/// ```
/// use hyper_session::cookie::{Attributes, CookieName, SetCookie};
/// use std::time::Duration;
///
/// let cookie = SetCookie::new(CookieName::new("__Host-sid")?, Attributes::default())?;
/// assert_eq!(
///     cookie.set(b"abc", Some(Duration::from_secs(7200)))?,
///     "__Host-sid=abc; Max-Age=7200; Path=/; Secure; HttpOnly; SameSite=Lax",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SetCookie {
    name: CookieName,
    /// The attributes as they are sent, each led by `"; "`.
    tail: Box<[u8]>,
    removal: HeaderValue,
}

impl SetCookie {
    /// A template for the cookie `name` with these attributes.
    ///
    /// # Errors
    /// When user agents would ignore an attribute or drop the cookie: a path or domain that is
    /// none, `SameSite=None` or `Partitioned` without `Secure`, or a name with the prefix
    /// `__Secure-`, `__Host-`, `__Http-` or `__Host-Http-`, in whatever case, without what it
    /// promises.
    pub fn new(name: CookieName, attributes: Attributes) -> Result<Self, CookieError> {
        attributes.check(&name)?;
        let mut tail = Vec::new();
        attributes.write(&mut tail);
        let past = Lifetime::max_age(Some(Duration::ZERO)).expires(UNIX_EPOCH);
        Ok(Self {
            removal: write(&name, b"", past, &tail)?,
            tail: tail.into(),
            name,
        })
    }

    /// The cookie's name.
    pub const fn name(&self) -> &CookieName {
        &self.name
    }

    /// Sets the cookie to `value`, for `max_age`, or for as long as the browser runs.
    ///
    /// A lifetime counts in seconds. A part of a second is rounded up, so that only zero removes
    /// the cookie, and what is longer than [`MAX_AGE`] is sent as that. One allocation.
    ///
    /// # Errors
    /// [`CookieError::Value`] when `value` has a byte other than printable ASCII without space,
    /// `"`, `,`, `;` and `\`; [`CookieError::TooLarge`] when name and value have more than
    /// [`MAX_PAIR_LEN`] bytes together.
    pub fn set(&self, value: &[u8], max_age: Option<Duration>) -> Result<HeaderValue, CookieError> {
        write(&self.name, value, Lifetime::max_age(max_age), &self.tail)
    }

    /// Like [`set`](Self::set), with the moment of expiry for user agents that do not know
    /// `Max-Age`. Those that do give it precedence. A moment that is not within the years 1970 to
    /// 9999 is sent as the nearest that is.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn set_with_expires(
        &self,
        value: &[u8],
        max_age: Option<Duration>,
        expires: SystemTime,
    ) -> Result<HeaderValue, CookieError> {
        let lifetime = Lifetime::max_age(max_age).expires(expires);
        write(&self.name, value, lifetime, &self.tail)
    }

    /// Removes the cookie: an empty value that expired long ago, with the same attributes, without
    /// which user agents would take it for another cookie. No allocation after the first call.
    pub fn removal(&self) -> HeaderValue {
        self.removal.clone()
    }
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetCookie")
            .field("name", &self.name)
            .field("attributes", &String::from_utf8_lossy(&self.tail))
            .finish()
    }
}

/// The Max-Age and Expires attributes of one header value, each led by `"; "`.
///
/// Both fit without the heap.
#[derive(Default)]
struct Lifetime(SmallVec<[u8; 64]>);

impl Lifetime {
    fn max_age(age: Option<Duration>) -> Self {
        let mut this = Self::default();
        if let Some(age) = age {
            let age = age.min(MAX_AGE);
            let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
            this.put("; Max-Age=");
            this.put(itoa::Buffer::new().format(seconds));
        }
        this
    }

    fn expires(mut self, at: SystemTime) -> Self {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = HttpDate::from(UNIX_EPOCH + at.min(LAST_DATE));
        // Writing to memory does not fail.
        let _ = write!(self, "; Expires={at}");
        self
    }

    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl fmt::Write for Lifetime {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

fn write(
    name: &CookieName,
    value: &[u8],
    Lifetime(lifetime): Lifetime,
    tail: &[u8],
) -> Result<HeaderValue, CookieError> {
    check_value(name, value)?;
    let parts = [name.as_str().as_bytes(), b"=", value, &lifetime, tail];
    // Filled to the last byte of its capacity, it becomes a header value without another allocation.
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    // Every part was checked before: this does not fail.
    HeaderValue::from_maybe_shared(Bytes::from(bytes)).map_err(|_| CookieError::Value {
        name: name.to_string(),
        at: 0,
    })
}

/// RFC 6265bis section 4.1.1, `cookie-value` without quotes, and section 5.6 for its length.
fn check_value(name: &CookieName, value: &[u8]) -> Result<(), CookieError> {
    let len = name.as_str().len().saturating_add(value.len());
    if len > MAX_PAIR_LEN {
        return Err(CookieError::TooLarge {
            name: name.to_string(),
            len,
        });
    }
    // Every byte is looked at, found wrong or not: so the compiler can look at many at a time.
    if value
        .iter()
        .fold(true, |ok, &byte| ok & is_cookie_octet(byte))
    {
        return Ok(());
    }
    Err(CookieError::Value {
        name: name.to_string(),
        at: value
            .iter()
            .take_while(|&&byte| is_cookie_octet(byte))
            .count(),
    })
}

/// Without a branch, for the compiler's sake: see [`check_value`].
const fn is_cookie_octet(byte: u8) -> bool {
    (byte > b' ')
        & (byte < 0x7f)
        & (byte != b'"')
        & (byte != b',')
        & (byte != b';')
        & (byte != b'\\')
}
