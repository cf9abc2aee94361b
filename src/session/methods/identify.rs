//! Methods that find the id of a request before the session is loaded.

use crate::session::{Load, Session, state::LoadMode};

impl Session {
    /// Finds out which one of the request's ids is alive. The session stays unloaded.
    pub(crate) fn identify(&self) -> Load<'_> {
        Load::new(self, LoadMode::Identify)
    }

    /// Returns `true` if the request carried several ids, and it is unknown which one is alive.
    pub(crate) fn is_id_ambiguous(&self) -> bool {
        self.with_id(|state| state.is_id_ambiguous())
    }
}
