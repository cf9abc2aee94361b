//! Ends and new beginnings: a new id, or none.

use crate::session::{
    Session, SessionError,
    state::{IdStatus, Phase, Regeneration},
};

impl Session {
    /// Gives the session a new id, which it has from now on; data, flash messages and tags stay.
    /// Call it whenever the visitor's rights change, above all at sign-in: an id that somebody else
    /// may have planted or seen is worth nothing afterwards.
    ///
    /// When the request is committed the new record is written first, the tags follow, and then the
    /// old id dies: no new request can use it, and what slower requests still write under it is
    /// dropped, with an event. Should another request have written under the old id meanwhile, its
    /// changes move along.
    ///
    /// # Errors
    /// When the session cannot be changed, or no new id can be made.
    pub fn regenerate(&self) -> Result<(), SessionError> {
        let mut guard = self.state();
        let state = guard.writable()?;
        let known = state.identity.carried || state.version.is_some();
        state.continued |= state.identity.carried;
        let old = state.identity.abandon();
        state.identity.ensure()?;
        state.regenerated = true;
        // An id that nobody else has heard of needs no burial, and a second new id only replaces
        // the first.
        if let (true, Some(from), None) = (known, old, state.moving) {
            state.moving = Some(Regeneration {
                from,
                version: state.version.take(),
            });
        }
        Ok(())
    }

    /// Ends the session: logs the visitor out. Its record goes, its id is dead, its cookie is
    /// removed, and no slower request brings it back.
    ///
    /// What is put or flashed afterwards in the same request begins a new session, under a new id.
    /// The session need not be loaded first, and may be one that cannot be read.
    ///
    /// It is the session under the id of this request that ends. If another request has just given
    /// it a new id, it lives on under that one: end
    /// it by its tag, with [`SessionCollection::destroy_tagged`](super::SessionCollection::destroy_tagged).
    ///
    /// # Errors
    /// When the session was loaded for reading only, or is committed already.
    pub fn destroy(&self) -> Result<(), SessionError> {
        let mut guard = self.state();
        if matches!(guard.phase, Phase::Unloaded | Phase::Failed) && self.engine.policy.enabled {
            guard.identity.look_up(&self.engine);
            guard.phase = Phase::Open;
            guard.accessed = true;
            guard.patch.set_limits(self.engine.policy.limits);
        }
        let state = guard.writable()?;
        let known = state.identity.carried || state.version.is_some();
        let old = state.identity.abandon();
        let ended = match state.moving {
            Some(moving) => Some(moving.from),
            None => old.filter(|_| known),
        };
        if ended.is_some() {
            state.ending = ended;
            state.fate = IdStatus::Destroyed;
        }
        state.continued = false;
        state.forget_contents();
        state.created = self.engine.clock.now();
        Ok(())
    }
}
