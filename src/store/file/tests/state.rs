//! The states that a key may have after a crash.

use super::super::log::{
    engine::{EntryState, FileEngine},
    read::FetchOutcome,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Tag, Tags},
};

/// The expected state of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyState {
    /// Data and tags, with the version if it is known.
    pub(super) record: Option<(Filled, Tags, Option<u64>)>,
    pub(super) expires: Timestamp,
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

/// The tags of the workload.
pub(super) fn all_tags() -> impl Iterator<Item = Tag> {
    (0..5).map(|number| Tag::new(format!("tag-{number}")).unwrap())
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
            (Some((data, tags, None)), Some((same, same_tags, _))) => {
                (data, tags) == (same, same_tags)
            }
            (one, other) => one == other,
        };
        let same_expiry = |state: &KeyState| state.expires == self.expires;
        states.iter().filter(same_record).any(same_expiry)
    }

    /// Returns the state of a key in the store, and checks that its tags list it, and no others.
    pub(super) fn observe(engine: &FileEngine, key: &StoreKey, now: Timestamp) -> Self {
        let state = match engine.entry_state(key, now) {
            EntryState::Absent => Self::default(),
            EntryState::Tombstone(entry) => Self {
                record: None,
                expires: entry.expires,
            },
            EntryState::Live(entry) => match engine.fetch(key, entry, true) {
                Ok(FetchOutcome::Record(record)) => Self {
                    record: Some((
                        repeated_byte(&record.data),
                        record.tags,
                        Some(record.version.get()),
                    )),
                    expires: entry.expires,
                },
                _ => panic!("{key:?} is in the index and cannot be read"),
            },
        };
        let tags = state.record.as_ref().map(|(_, tags, _)| tags);
        for tag in all_tags() {
            assert_eq!(
                engine.tagged(&tag).unwrap().0.contains(key),
                tags.is_some_and(|tags| tags.contains(tag.as_str())),
                "a tag lists exactly its sessions"
            );
        }
        state
    }
}
