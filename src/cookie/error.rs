//! Errors of setting a cookie.

use super::{MAX_ATTRIBUTE_LEN, MAX_PAIR_LEN};

/// The error of setting a cookie.
///
/// [`Value`](Self::Value) and [`TooLarge`](Self::TooLarge) depend on the value. The other variants
/// are errors in the configuration, and are found when it is checked. No error contains a cookie's
/// value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// User agents would not accept the path.
    #[error(
        "cookie path {path:?} is invalid; start it with '/' and use at most {max} printable ASCII \
         characters other than ';'", max = MAX_ATTRIBUTE_LEN
    )]
    Path {
        /// The path.
        path: String,
    },
    /// The domain is not a domain name.
    #[error(
        "cookie domain {domain:?} is invalid; use a domain name like example.org, in ASCII, without a \
         leading or trailing dot, of at most 253 characters"
    )]
    Domain {
        /// The domain.
        domain: String,
    },
    /// A former scope is the scope of the cookie itself, so the cookie would be removed as it is set.
    #[error("a former scope is the cookie's own scope; remove it from `former_scopes`")]
    FormerScope,
    /// An attribute requires Secure. User agents would drop the cookie.
    #[error("cookie attribute {attribute} requires Secure; set `secure`, or remove the attribute")]
    NotSecure {
        /// The attribute that requires Secure.
        attribute: &'static str,
    },
    /// The attributes break a rule of the name's prefix. User agents would drop the cookie.
    #[error(
        "cookie name begins with {prefix}, so the cookie must {rule}; change `{field}`, or the name"
    )]
    Prefix {
        /// The prefix as the standard writes it. User agents ignore its case.
        prefix: &'static str,
        /// The rule that the attributes break.
        rule: &'static str,
        /// The field of [`Attributes`](super::Attributes) that breaks the rule.
        field: &'static str,
    },
    /// The value contains a byte that is not allowed in a cookie value.
    #[error(
        "value of cookie {name} has an invalid byte at {at}; encode the value, for example as \
         base64url"
    )]
    Value {
        /// The cookie's name.
        name: String,
        /// The offset of the byte in the value.
        at: usize,
    },
    /// Name and value are too long in total. User agents would drop the cookie silently.
    #[error(
        "name and value of cookie {name} are {len} bytes, limit is {max}; store a shorter value",
        max = MAX_PAIR_LEN
    )]
    TooLarge {
        /// The cookie's name.
        name: String,
        /// The total length of name and value in bytes.
        len: usize,
    },
}
