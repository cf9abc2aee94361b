//! Finding cookies in requests, writing Set-Cookie.
//!
//! A [`Finder`] walks the `Cookie` header lines of a request for one name, without copying a byte.
//! A [`SetCookie`] is a template, checked once when it is built, that writes `Set-Cookie` values.
//!
//! The rules are those of [RFC 6265bis], with the `__Http-` and `__Host-Http-` prefixes and
//! `Partitioned` of the drafts that follow it ([layered cookies], [CHIPS]). This module neither
//! encodes nor decodes values: whoever sets a cookie hands in text that may stand in one.
//!
//! [RFC 6265bis]: https://datatracker.ietf.org/doc/draft-ietf-httpbis-rfc6265bis/
//! [layered cookies]: https://datatracker.ietf.org/doc/draft-ietf-httpbis-layered-cookies/
//! [CHIPS]: https://datatracker.ietf.org/doc/draft-cutler-httpbis-partitioned-cookies/

mod attributes;
mod error;
mod finder;
mod name;
mod set_cookie;

pub use attributes::{Attributes, MAX_ATTRIBUTE_LEN, SameSite};
pub use error::CookieError;
pub use finder::{Candidates, Finder, MAX_CANDIDATES};
pub use name::{CookieName, CookieNameError};
pub use set_cookie::{MAX_AGE, MAX_PAIR_LEN, SetCookie};
