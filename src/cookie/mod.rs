//! Cookie names and attributes, parsing of `Cookie` and writing of `Set-Cookie`.
//!
//! `Finder` searches the `Cookie` header lines of a request for one name, without copying.
//! `SetCookie` writes `Set-Cookie` values from a template that is checked once.
//!
//! The rules are those of [RFC 6265bis], with the `__Http-` and `__Host-Http-` prefixes and
//! `Partitioned` from later drafts ([layered cookies], [CHIPS]), and `Priority` from [another draft]. This module neither encodes nor
//! decodes values. The caller passes text that is valid in a cookie.
//!
//! [RFC 6265bis]: https://datatracker.ietf.org/doc/draft-ietf-httpbis-rfc6265bis/
//! [layered cookies]: https://datatracker.ietf.org/doc/draft-ietf-httpbis-layered-cookies/
//! [CHIPS]: https://datatracker.ietf.org/doc/draft-cutler-httpbis-partitioned-cookies/
//! [another draft]: https://datatracker.ietf.org/doc/draft-west-cookie-priority/

mod attributes;
mod error;
mod finder;
mod name;
mod set_cookie;
mod stripper;

pub use attributes::{
    Attributes, CookieScope, InvalidPriority, MAX_ATTRIBUTE_LEN, Priority, SameSite,
};
pub use error::CookieError;
// Public for the tests, benches and fuzz targets only.
#[doc(hidden)]
pub use finder::{Candidates, Finder, MAX_CANDIDATES};
pub use name::{CookieName, CookieNameError};
#[doc(hidden)]
pub use set_cookie::SetCookie;
pub use set_cookie::{MAX_AGE, MAX_PAIR_LEN};
pub(crate) use stripper::{CookieStripper, set_cookie_name};
