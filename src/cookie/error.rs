//! What can be wrong with a cookie that is to be set.

use super::{MAX_ATTRIBUTE_LEN, MAX_PAIR_LEN};

/// A cookie cannot be set as asked.
///
/// All but [`Value`](Self::Value) and [`TooLarge`](Self::TooLarge) are mistakes of configuration,
/// found when a [`SetCookie`](super::SetCookie) is built. No cookie's value is ever in an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The path is not one that user agents take.
    #[error(
        "the cookie's path {path:?} is not allowed: it starts with '/', has printable ASCII \
         characters other than ';', and at most {max} of them", max = MAX_ATTRIBUTE_LEN
    )]
    Path {
        /// The path.
        path: String,
    },
    /// The domain is not a domain name.
    #[error(
        "the cookie's domain {domain:?} is not allowed: it is a domain name such as example.org, \
         in ASCII, without a leading or trailing dot, at most 253 characters long"
    )]
    Domain {
        /// The domain.
        domain: String,
    },
    /// An attribute without Secure, which user agents would take as a reason to drop the cookie.
    #[error("the cookie has {attribute} and so must be Secure too")]
    NotSecure {
        /// The attribute that needs it.
        attribute: &'static str,
    },
    /// The name's prefix promises something that the attributes do not keep; user agents would
    /// drop the cookie.
    #[error("the cookie's name begins with {prefix}, so it must {rule}")]
    Prefix {
        /// The prefix as the standard writes it. User agents ignore its case.
        prefix: &'static str,
        /// What is missing.
        rule: &'static str,
        /// The field of [`Attributes`](super::Attributes) that says otherwise.
        field: &'static str,
    },
    /// The value holds a byte that no cookie value may hold.
    #[error(
        "the value of cookie {name} holds a byte that is not allowed in one (at {at}): \
         encode it, for instance as base64url"
    )]
    Value {
        /// The cookie's name.
        name: String,
        /// Where in the value the byte stands.
        at: usize,
    },
    /// Name and value are too long together; user agents would drop the cookie without a word.
    #[error(
        "cookie {name} is too large: its name and value have {len} bytes together, \
         user agents keep {max}", max = MAX_PAIR_LEN
    )]
    TooLarge {
        /// The cookie's name.
        name: String,
        /// The bytes of name and value together.
        len: usize,
    },
}
