//! Writing of `Set-Cookie`.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::HeaderValue;
use httpdate::HttpDate;
use smallvec::SmallVec;

use super::{Attributes, CookieError, CookieName};

/// Maximum lifetime that user agents accept: 400 days (RFC 6265bis section 5.5).
///
/// A longer lifetime is sent as this one.
#[doc(alias = "maxAge")]
pub const MAX_AGE: Duration = Duration::from_secs(34_560_000);

/// Maximum total length of a cookie's name and value in bytes (RFC 6265bis section 5.6).
pub const MAX_PAIR_LEN: usize = 4096;

/// The last second that an IMF-fixdate can express: the end of the year 9999.
const MAX_DATE: Duration = Duration::from_secs(253_402_300_799);

/// A template for the `Set-Cookie` header values of one cookie.
///
/// [`new`](Self::new) checks name and attributes once and prepares their bytes. A value consists of
/// `name=value`, optional `Max-Age` and `Expires`, then `Domain`, `Path`, `Secure`, `HttpOnly`,
/// `SameSite`, `Partitioned` and `Priority`, each at most once.
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
    /// The attributes in the form of the header value, each after `"; "`.
    attributes: Box<[u8]>,
    removal: HeaderValue,
    /// Removals of the cookie in its former scopes. `None` if there are none.
    former_removals: Option<Arc<[HeaderValue]>>,
}

impl SetCookie {
    /// Creates a template for the cookie `name` with these attributes.
    ///
    /// # Errors
    /// If user agents would ignore an attribute or drop the cookie: for an invalid path or domain,
    /// for `SameSite=None` or `Partitioned` without `Secure`, and for attributes that break the rules
    /// of the name's prefix. The prefixes are `__Secure-`, `__Host-`, `__Http-` and `__Host-Http-`, in
    /// upper or lower case.
    pub fn new(name: CookieName, attributes: Attributes) -> Result<Self, CookieError> {
        let bytes = check_and_write(&name, &attributes)?;
        let former = attributes.former()?;
        let former = former
            .iter()
            .map(|former| removal(&name, &check_and_write(&name, former)?));
        let former: Arc<[HeaderValue]> = former.collect::<Result<_, _>>()?;
        Ok(Self {
            removal: removal(&name, &bytes)?,
            former_removals: (!former.is_empty()).then_some(former),
            attributes: bytes.into(),
            name,
        })
    }

    /// Returns the cookie's name.
    pub const fn name(&self) -> &CookieName {
        &self.name
    }

    /// Returns a header value that sets the cookie to `value` for `max_age`, or until the browser
    /// closes if `max_age` is `None`.
    ///
    /// `Max-Age` is in whole seconds. A fraction is rounded up, so that only zero removes the cookie.
    /// A lifetime above [`MAX_AGE`] is sent as `MAX_AGE`. Allocates once.
    ///
    /// # Errors
    /// - [`CookieError::Value`] if `value` has a byte other than printable ASCII, or has a space, `"`,
    ///   `,`, `;` or `\`.
    /// - [`CookieError::TooLarge`] if name and value have more than [`MAX_PAIR_LEN`] bytes in total.
    pub fn set(&self, value: &[u8], max_age: Option<Duration>) -> Result<HeaderValue, CookieError> {
        write(
            &self.name,
            value,
            LifetimeAttributes::max_age(max_age),
            &self.attributes,
        )
    }

    /// Returns a header value like [`set`](Self::set), with an `Expires` attribute for user agents
    /// that do not support `Max-Age`. Other user agents ignore `Expires`. A time outside the years
    /// 1970 to 9999 is sent as the nearest time inside.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn set_with_expires(
        &self,
        value: &[u8],
        max_age: Option<Duration>,
        expires: SystemTime,
    ) -> Result<HeaderValue, CookieError> {
        let lifetime = LifetimeAttributes::max_age(max_age).expires(expires);
        write(&self.name, value, lifetime, &self.attributes)
    }

    /// Returns a header value that removes the cookie: an empty value that expired in the past. It has
    /// the same attributes, because user agents identify a cookie by its name, domain and path. Does
    /// not allocate.
    pub fn removal(&self) -> HeaderValue {
        self.removal.clone()
    }
}

impl SetCookie {
    /// Returns header values that remove the cookie in its former scopes, or `None` if it has none.
    pub fn former_removals(&self) -> Option<Arc<[HeaderValue]>> {
        self.former_removals.clone()
    }
}

/// Checks attributes and returns them in the form of the header value.
fn check_and_write(name: &CookieName, attributes: &Attributes) -> Result<Vec<u8>, CookieError> {
    attributes.check(name)?;
    let mut bytes = Vec::new();
    attributes.write(&mut bytes);
    Ok(bytes)
}

fn removal(name: &CookieName, attributes: &[u8]) -> Result<HeaderValue, CookieError> {
    let past = LifetimeAttributes::max_age(Some(Duration::ZERO)).expires(UNIX_EPOCH);
    write(name, b"", past, attributes)
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetCookie")
            .field("name", &self.name)
            .field("attributes", &String::from_utf8_lossy(&self.attributes))
            .finish()
    }
}

/// The `Max-Age` and `Expires` attributes of one header value, each after `"; "`.
///
/// Both fit inline, without an allocation.
#[derive(Default)]
struct LifetimeAttributes(SmallVec<[u8; 64]>);

impl LifetimeAttributes {
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
        let at = HttpDate::from(UNIX_EPOCH + at.min(MAX_DATE));
        // Writing to memory cannot fail.
        let _ = write!(self, "; Expires={at}");
        self
    }

    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl fmt::Write for LifetimeAttributes {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

fn write(
    name: &CookieName,
    value: &[u8],
    LifetimeAttributes(lifetime): LifetimeAttributes,
    attributes: &[u8],
) -> Result<HeaderValue, CookieError> {
    check_value(name, value)?;
    let parts = [name.as_str().as_bytes(), b"=", value, &lifetime, attributes];
    // With the exact capacity, the vector becomes a header value without another allocation.
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    // Every part was checked before, so this cannot fail.
    HeaderValue::from_maybe_shared(Bytes::from(bytes)).map_err(|_| CookieError::Value {
        name: name.to_string(),
        at: 0,
    })
}

/// Checks a value against RFC 6265bis section 4.1.1, `cookie-value` without quotes, and its length
/// against section 5.6.
fn check_value(name: &CookieName, value: &[u8]) -> Result<(), CookieError> {
    let len = name.as_str().len().saturating_add(value.len());
    if len > MAX_PAIR_LEN {
        return Err(CookieError::TooLarge {
            name: name.to_string(),
            len,
        });
    }
    // The fold does not stop at the first invalid byte, so that the compiler can vectorize it.
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

/// Returns `true` if a cookie value may contain the byte.
const fn is_cookie_octet(byte: u8) -> bool {
    // Branch-free, so that the loop in `check_value` can be vectorized.
    (byte > b' ')
        & (byte < 0x7f)
        & (byte != b'"')
        & (byte != b',')
        & (byte != b';')
        & (byte != b'\\')
}
