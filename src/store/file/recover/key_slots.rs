//! Numbers for the keys that encrypted the records of a log.

use crate::{
    seal::{self, KeyId},
    store::file::log::index::FIRST_KEY,
};

/// The slot of a key that is unknown, or for which no slot is left.
const OTHER_KEY: u8 = u8::MAX;

/// The keys that encrypted the records of a log, each with a number of one byte, which fits into an
/// index entry.
pub(super) struct KeySlots {
    /// The keys of the slots from [`FIRST_KEY`]. The first one is `None` if there is no key ring.
    keys: Vec<Option<KeyId>>,
}

impl KeySlots {
    pub(super) fn new(first: Option<KeyId>) -> Self {
        Self { keys: vec![first] }
    }

    /// Returns the slot of the key that sealed `text`, of which the beginning suffices.
    pub(super) fn slot_of(&mut self, text: &[u8]) -> u8 {
        let Some(key) = seal::key_id(text) else {
            return OTHER_KEY;
        };
        let known = self.keys.iter().position(|known| *known == Some(key));
        let index = known.unwrap_or(self.keys.len());
        let slot = u8::try_from(index).map_or(OTHER_KEY, |index| index.saturating_add(FIRST_KEY));
        if known.is_none() && slot < OTHER_KEY {
            self.keys.push(Some(key));
        }
        slot
    }

    /// Returns the key of a slot, if it has one.
    pub(super) fn key(&self, slot: u8) -> Option<KeyId> {
        let index = slot.checked_sub(FIRST_KEY)?;
        self.keys.get(usize::from(index)).copied().flatten()
    }
}
