//! What a cookie may be called.

use std::{fmt, str::FromStr};

/// The name of a cookie: 1 to 256 characters of a token (RFC 6265bis section 4.1.1, RFC 9110
/// section 5.6.2), that is letters, digits and ``!#$%&'*+-.^_`|~``.
///
/// Names are compared byte by byte: `SID` and `sid` are two cookies, and `__host-sid` is not
/// `__Host-sid`.
///
/// ```
/// use hyper_session::cookie::CookieName;
///
/// let name: CookieName = "__Host-session".parse()?;
/// assert_eq!(name.as_str(), "__Host-session");
/// assert!("my session".parse::<CookieName>().is_err());
/// # Ok::<(), hyper_session::cookie::CookieNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieName(Box<str>);

impl CookieName {
    /// The longest name, in bytes. Name and value together have room for 4096.
    pub const MAX_LEN: usize = 256;

    /// A cookie name of this text.
    ///
    /// # Errors
    /// When `name` is empty, longer than [`MAX_LEN`](Self::MAX_LEN), or not a token.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, CookieNameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(CookieNameError::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(CookieNameError::TooLong { len: name.len() });
        }
        match name.char_indices().find(|&(_, c)| !is_token(c)) {
            Some((at, found)) => Err(CookieNameError::Character { found, at }),
            None => Ok(Self(name)),
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '.'
                | '^'
                | '_'
                | '`'
                | '|'
                | '~'
        )
}

impl FromStr for CookieName {
    type Err = CookieNameError;

    fn from_str(name: &str) -> Result<Self, CookieNameError> {
        Self::new(name)
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieName({})", self.0)
    }
}

/// A text cannot name a cookie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieNameError {
    /// There is no name. A cookie without a name is never sent: user agents disagree about it.
    #[error("a cookie name must not be empty")]
    Empty,
    /// The name is too long.
    #[error("a cookie name has at most {max} bytes, this one has {len}", max = CookieName::MAX_LEN)]
    TooLong {
        /// How many bytes it has.
        len: usize,
    },
    /// The name holds a character that is not allowed in it.
    #[error(
        "a cookie name holds letters, digits and !#$%&'*+-.^_`|~ only, \
         this one has {found:?} at byte {at}"
    )]
    Character {
        /// The first such character.
        found: char,
        /// The byte where it stands.
        at: usize,
    },
}
