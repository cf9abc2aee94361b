//! The last stored state of a request.
//!
//! An explicit commit, or destroying the session, takes effect in the store before the handler
//! returns. If a later commit fails, the response still has to set the cookies of the stored state.
//! Otherwise the browser would keep the cookie of a dead id.

use super::{identity::Identity, phase::IdStatus};
use crate::store::{SetCookies, Version};

/// The part of a stored state that determines the cookies of a response.
#[derive(Debug)]
pub(super) struct Savepoint {
    pub(super) identity: Identity,
    pub(super) id_status: IdStatus,
    pub(super) version: Option<Version>,
    /// The cookies of a client-side store.
    pub(super) cookies: SetCookies,
}
