//! Ids that requests of this process are about to replace.
//!
//! Between [`regenerate`](super::Session::regenerate) and the end of the commit, a session has an old
//! id in the store and a new one in the handle. Either id names the session.

use std::sync::{Arc, Mutex};

use super::engine::Engine;
use crate::{id::StoreKey, sync::lock};

/// The pending changes of ids, each as the old key and the new key.
#[derive(Debug, Default)]
pub(crate) struct PendingIds(Mutex<Vec<(StoreKey, StoreKey)>>);

/// One pending change of an id. It ends when this is dropped.
pub(super) struct PendingId {
    engine: Arc<Engine>,
    keys: (StoreKey, StoreKey),
}

impl PendingIds {
    /// Returns `true` if both keys belong to one session.
    pub(super) fn is_same_session(&self, one: &StoreKey, other: &StoreKey) -> bool {
        one == other
            || lock(&self.0)
                .iter()
                .any(|(old, new)| (old, new) == (one, other) || (old, new) == (other, one))
    }

    /// Returns the key of the session that a request is about to give the id with this key.
    pub(super) fn old_key(&self, key: &StoreKey) -> Option<StoreKey> {
        let pending = lock(&self.0);
        pending
            .iter()
            .find_map(|(old, new)| (new == key).then_some(*old))
    }
}

impl PendingId {
    pub(super) fn new(engine: &Arc<Engine>, old: StoreKey, new: StoreKey) -> Self {
        let keys = (old, new);
        lock(&engine.pending_ids.0).push(keys);
        Self {
            engine: Arc::clone(engine),
            keys,
        }
    }
}

impl Drop for PendingId {
    fn drop(&mut self) {
        let mut pending = lock(&self.engine.pending_ids.0);
        if let Some(position) = pending.iter().position(|keys| *keys == self.keys) {
            pending.swap_remove(position);
        }
    }
}

impl std::fmt::Debug for PendingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingId(…)")
    }
}
