//! Migration of sessions from their visitors' cookies to a store at the server.
//!
//! The new store decides. A session is in its cookie only if the new store has no record of it, or
//! only a reserved marker. Sessions, fences and tombstones of the new store overrule any cookie.
//!
//! Any request may stop after any step. The next request with the cookie starts again. The steps of a
//! migration and the invariant of each:
//!
//! 1. If the session in the cookie has tags, create a reserved marker with these tags in the new store.
//!    *A reader of the marker assumes that the session is in its cookie. A logout everywhere finds the
//!    marker by its tags.*
//! 2. Check that the cookie is still valid. *The tags are in the new store by now. A logout everywhere
//!    revokes the tag for cookies first, and then destroys the tagged records in the new store. So
//!    either this check fails, or the logout destroys the marker or the session.*
//! 3. Write the session to the new store, expecting the marker or, without tags, no record. *Of several
//!    requests with the same cookie, one migrates the session. The others get a conflict with its
//!    result.*
//! 4. Remove the cookie, and revoke it if there is a revocation list. *The session is in the new store
//!    before its cookie is lost.*

mod migration;
mod request;
mod service;
mod tags;

pub(super) use self::service::BoundMigratingStore;
