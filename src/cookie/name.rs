//! Cookie names.

use std::{fmt, str::FromStr};

/// The name of a cookie: 1 to 256 characters of a token (RFC 6265bis section 4.1.1, RFC 9110
/// section 5.6.2), which are letters, digits and ``!#$%&'*+-.^_`|~``.
///
/// Names are compared byte by byte. `SID` and `sid` are two cookies, and `__host-sid` is not
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
    /// Maximum length of a name in bytes. Name and value together have a limit of 4096.
    pub const MAX_LEN: usize = 256;

    /// Creates a cookie name from a string.
    ///
    /// # Errors
    /// If `name` is empty, longer than [`MAX_LEN`](Self::MAX_LEN), or not a token.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, CookieNameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(CookieNameError::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(CookieNameError::TooLong { len: name.len() });
        }
        match name.char_indices().find(|&(_, c)| !is_token(c)) {
            Some((at, character)) => Err(CookieNameError::Character { character, at }),
            None => Ok(Self(name)),
        }
    }

    /// Returns the name as text.
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

/// The error of creating a cookie name.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieNameError {
    /// The name is empty. User agents disagree about cookies without a name.
    #[error("cookie name is empty; use 1 to {max} characters", max = CookieName::MAX_LEN)]
    Empty,
    /// The name is too long.
    #[error("cookie name is {len} bytes, limit is {max}; use a shorter name", max = CookieName::MAX_LEN)]
    TooLong {
        /// The length of the name in bytes.
        len: usize,
    },
    /// The name contains an invalid character.
    #[error(
        "cookie name has the invalid character {character:?} at byte {at}; use letters, digits and \
         !#$%&'*+-.^_`|~"
    )]
    Character {
        /// The first invalid character.
        character: char,
        /// The offset of the character in bytes.
        at: usize,
    },
}

impl fmt::Debug for CookieNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` prints the `Debug` text of an error that it returns.
        fmt::Display::fmt(self, f)
    }
}
