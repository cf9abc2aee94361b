//! The states that a key may have after a crash.

use super::super::log::{
    engine::{EntryState, FileEngine},
    read::FetchOutcome,
};
use crate::{clock::Timestamp, id::StoreKey, store::Tag};

/// The expected state of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyState {
    /// The data, with its version if it is known.
    pub(super) record: Option<(Filled, Option<u64>)>,
    pub(super) expires: Timestamp,
    pub(super) tags: Vec<Tag>,
}

/// Data that repeats one byte, as the byte and the length, for short messages.
pub(super) type Filled = (u8, usize);

pub(super) fn repeated_byte(data: &[u8]) -> Filled {
    let fill = data.first().copied().unwrap_or_default();
    assert!(
        data.iter().all(|byte| *byte == fill),
        "data is read as written"
    );
    (fill, data.len())
}

/// The states that a key may have: the last one that was acknowledged as durable, and all later ones.
pub(super) type History = Vec<KeyState>;

impl KeyState {
    /// Returns `true` if the key may have this state.
    pub(super) fn is_allowed(&self, history: &History, now: Timestamp) -> bool {
        let states: Vec<KeyState> = history
            .iter()
            .map(|state| {
                if state.expires <= now {
                    KeyState::default()
                } else {
                    state.clone()
                }
            })
            .collect();
        let same_record = |state: &&KeyState| match (&state.record, &self.record) {
            (Some((data, None)), Some((same, _))) => data == same,
            (one, other) => one == other,
        };
        let same_expiry = |state: &KeyState| state.expires == self.expires;
        // A mutation that was not acknowledged may be there in part: a record without its tags.
        states.iter().filter(same_record).any(same_expiry)
            && states.iter().any(|state| state.tags == self.tags)
    }

    /// Returns the state of a key in the store.
    pub(super) fn observe(engine: &FileEngine, key: &StoreKey, now: Timestamp) -> Self {
        let (record, expires) = match engine.entry_state(key, now) {
            EntryState::Absent => return Self::default(),
            EntryState::Tombstone(entry) => (None, entry.expires),
            EntryState::Live(entry) => match engine.fetch(key, entry, true) {
                Ok(FetchOutcome::Record(record)) => (
                    Some((repeated_byte(&record.data), Some(record.version.get()))),
                    entry.expires,
                ),
                _ => panic!("{key:?} is in the index and cannot be read"),
            },
        };
        let mut tags = engine.lock_tags().tags(key).to_vec();
        tags.sort();
        for tag in &tags {
            assert!(
                engine.tagged(tag).unwrap().0.contains(key),
                "a tag lists its sessions"
            );
        }
        Self {
            record,
            expires,
            tags,
        }
    }
}
