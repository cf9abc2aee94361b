//! What stands, whatever becomes of the rest of the request.
//!
//! An explicit commit, and the end of a session, are done before the handler answers. If a later
//! commit fails, its changes are not acknowledged, but these are: the browser is told of them with the
//! failure. It would keep the cookie of an id that is dead otherwise.

use super::{IdStatus, State, identity::Identity};
use crate::store::{SetCookies, Version};

/// What the store holds for certain, as the browser is to hear of it.
#[derive(Debug)]
pub(in crate::session) struct Savepoint {
    identity: Identity,
    fate: IdStatus,
    version: Option<Version>,
    /// What a client-side store has to say of it.
    data: SetCookies,
}

impl State {
    /// What is stored at this moment stands.
    pub(in crate::session) fn note_standing(&mut self) {
        let standing = self.outgoing().map(|data| Savepoint {
            identity: self.identity.clone(),
            fate: self.fate,
            version: self.version,
            data,
        });
        self.standing = standing.ok().map(Box::new);
    }

    /// Goes back to what stands, to tell of that; `false` where nothing does.
    pub(in crate::session) fn fall_back(&mut self) -> bool {
        let Some(standing) = self.standing.take() else {
            return false;
        };
        self.identity = standing.identity;
        self.fate = standing.fate;
        self.version = standing.version;
        if self.is_attached() {
            self.visitor.said = Some(standing.data);
        }
        true
    }
}
