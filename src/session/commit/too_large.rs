//! A session that its store does not take for its size.

use std::sync::Arc;

use crate::session::{
    SessionError,
    state::{IdStatus, Phase, State},
};
use crate::{document::Document, store::TooLarge};

/// How many keys are named.
const NAMED: usize = 5;

/// How many characters of a key's name are shown.
const SHOWN: usize = 64;

impl State {
    /// The error, with the names of what takes the most room.
    pub(in crate::session) fn too_large(&self, limit: TooLarge) -> SessionError {
        let mut parts = sizes(&self.data, "");
        if let Ok(messages) = self.flash.outgoing(self.version) {
            parts.append(&mut sizes(&messages, "flash:"));
        }
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        parts.truncate(NAMED);
        SessionError::TooLarge {
            size: limit.size,
            limit: limit.limit,
            largest: Arc::from(parts),
        }
    }

    /// The response goes out without what the last commit was to store: the browser is told what
    /// was stored or ended before, or else keeps the cookies it has.
    pub(in crate::session) fn give_up_changes(&mut self) {
        self.phase = Phase::Closed;
        if !self.fall_back() {
            self.fate = IdStatus::Regenerated;
            self.version = None;
        }
    }
}

/// The root keys, and how many bytes each takes with its value.
fn sizes(document: &Document, kind: &str) -> Vec<(Box<str>, usize)> {
    let members = document.members().flatten();
    let size = members.map(|(key, value)| {
        let name: String = kind.chars().chain(key.chars().take(SHOWN)).collect();
        (name.into(), key.len() + value.as_bytes().len())
    });
    size.collect()
}
