//! Sessions that leave their visitors' cookies for a store at the server.
//!
//! What has to hold, whoever stops in the middle:
//!
//! 1. What the new store knows of a key counts, be it a session, a fence or a tombstone, whatever a
//!    cookie says. Only where it knows nothing, the session is in its cookie.
//! 2. A session leaves its cookie by a write that expects nothing in the new store. So of several
//!    requests with the same cookie one brings it over, and the others meet what that one wrote.
//! 3. One that has tags is announced there by a mark, which gets the tags. Who finds the mark takes
//!    the session to be in its cookie. So nobody escapes a log-out by what stops half way.
//! 4. Whether the cookie is still good is asked when the tags are in the new store. Who logs a
//!    user out everywhere notes that for the cookies first, and then ends what is tagged there.
//! 5. The cookie goes, and is revoked, once the session stands in the new store.

mod carry;
mod everywhere;
mod service;
mod tags;
mod visit;

pub(super) use self::service::Service;
